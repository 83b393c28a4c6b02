"""ORCS JSON as sessions: files and folders, good ones and bad ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from gitstore import SerializationError, SessionAsset
from gitstore.importers import files
from gitstore.importers.orcs import read_orcs

ORCS = Path(__file__).parents[1] / "fixtures" / "orcs"


def test_a_folder_stands_for_its_json_files_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", ".hidden.json", "notes.txt"):
        shutil.copy(ORCS / "minimal.json", tmp_path / name)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    read = list(read_orcs(tmp_path))
    assert [file.path.name for file in read] == ["a.json", "b.json"]
    expected = SessionAsset.from_orcs_json((ORCS / "minimal.json").read_bytes())
    assert [(file.asset, file.error) for file in read] == [(expected, None)] * 2


def test_files_and_folders_come_in_the_order_given(tmp_path: Path) -> None:
    shutil.copy(ORCS / "minimal.json", tmp_path / "one.json")
    read = list(read_orcs(str(ORCS / "full.json"), tmp_path))
    assert [file.path.name for file in read] == ["full.json", "one.json"]


def test_every_fixture_is_read() -> None:
    read = list(read_orcs(ORCS))
    assert len(read) == len(list(ORCS.glob("*.json")))
    assert [file.path.name for file in read if file.error is not None] == []


@pytest.mark.parametrize(
    ("data", "where", "line"),
    [
        (b"{", "json", 1),
        (b'{\n "id": "x",\n \xff', "json", 3),
        (
            (ORCS / "minimal.json").read_bytes().replace(b'"version":1', b'"version":2'),
            "version",
            None,
        ),
        (b"[]", "session", None),
        (b'{"id": "x", "version": 1}', "history", None),
    ],
)
def test_a_bad_file_is_one_error_that_names_it_and_the_place(
    tmp_path: Path, data: bytes, where: str, line: int | None
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    shutil.copy(ORCS / "minimal.json", tmp_path / "good.json")
    bad, good = read_orcs(tmp_path)
    assert bad.asset is None
    assert bad.error is not None
    assert (bad.error.where, bad.error.line) == (f"{path}: {where}", line)
    assert str(path) in str(bad.error)
    assert isinstance(bad.error.__cause__, SerializationError)
    assert good.asset is not None


def test_reading_is_lazy_so_that_one_can_stop(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("{}")
    reading = read_orcs(tmp_path)
    assert next(reading).error is not None
    shutil.copy(ORCS / "minimal.json", tmp_path / "b.json")
    assert next(reading).asset is not None


def test_what_cannot_be_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    (missing,) = read_orcs(tmp_path / "none.json")
    assert missing.error is not None
    assert missing.error.where == str(tmp_path / "none.json")
    assert "cannot be read: No such file or directory" in missing.error.problem
    assert isinstance(missing.error.__cause__, OSError)
    (strange,) = read_orcs("a\0b")
    assert strange.error is not None


def test_a_folder_that_cannot_be_listed_is_an_error() -> None:
    # Not below the test's folder, which others could not even look up.
    with tempfile.TemporaryDirectory() as closed:
        os.chmod(closed, 0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            (refused,) = read_orcs(closed)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(closed, 0o700)
    assert refused.error is not None
    assert (refused.error.where, refused.asset) == (closed, None)
    assert refused.error.problem == "cannot be listed: Permission denied; check its permissions"


def test_a_file_may_be_too_large(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        # Sparse: it takes no room on disk.
        stream.truncate(files.INPUT_BYTES_MAX + 1)
    (read,) = read_orcs(path)
    assert read.error is not None
    assert read.error.problem == "is larger than 64 MiB; move large content out of it"
