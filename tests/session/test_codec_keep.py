from __future__ import annotations

import copy
import random
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.session import codec
from gitstore.session.codec import keep, patch
from gitstore.session.codec.rewrite import rewrite_text
from tests.session.codec_cases import HOSTILE, Document, is_same, sessions

TIME = "2026-11-23T11:29:27.990Z"
EDITED = f"""\
# My session. Do not lose this.

id: s-1   # the id
version: 1
created_at: {TIME}
updated_at: '{TIME}'
project_context:
    # four spaces, as I like it
    name: "proj"    # in double quotes
    technologies: [rust,   python]   # in brackets
    key_files:
    - src/main.rs   # the entry

    - src/lib.rs
metadata: {{a: 1, b: {{c: 2}}}}   # all on one line
notes: |  # kept note
  first line

  second line
history:
  # the limit
  max_turns: 0x10
  turns:
  # turn one
  - id: t1
    role: user   # me
    # what I said
    content: hello
    tags:
    - a # tag a
    # tag b comes next
    - b

  # turn two
  - id: t2
    role: assistant
    content: >-
      folded
      text

  - id: t3
    role: user
    content: "a long
      quoted text"   # over two lines
    metadata: {{k: 1}}
# end of file
"""
START: Document = codec.decode(EDITED.encode())


def saved(change: Any, text: str = EDITED) -> str:
    """Save a changed document over a file, and check what is always so."""
    document = codec.decode(text.encode())
    change(document)
    data = codec.encode(document, previous=text.encode())
    assert is_same(codec.decode(data), document)
    return data.decode()


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_nothing_changed_nothing_written() -> None:
    assert saved(lambda _: None) == EDITED


def test_over_a_canonical_file_the_result_is_canonical() -> None:
    document = dict(reversed(START.items()))
    assert codec.encode(document, previous=codec.encode(START)) == codec.encode(document)


@pytest.mark.parametrize("previous", [b"", b"a: [", b"\xff\xfe", b"- 1\n", b"a: 1\na: 2\n"])
def test_over_a_file_that_cannot_be_read_the_result_is_canonical(previous: bytes) -> None:
    assert codec.encode(START, previous=previous) == codec.encode(START)


def set_at(*steps: Any, to: Any) -> Any:
    def change(document: Any) -> None:
        for step in steps[:-1]:
            document = document[step]
        document[steps[-1]] = to

    return change


def delete_at(*steps: Any) -> Any:
    def change(document: Any) -> None:
        for step in steps[:-1]:
            document = document[step]
        del document[steps[-1]]

    return change


ONE_LINE: list[tuple[Any, str, str]] = [
    (set_at("updated_at", to="later"), f"updated_at: '{TIME}'", "updated_at: later"),
    (set_at("id", to="s-2"), "id: s-1   # the id", "id: s-2   # the id"),
    (
        set_at("project_context", "name", to="new name"),
        '    name: "proj"    # in double quotes',
        "    name: new name    # in double quotes",
    ),
    (
        set_at("project_context", "technologies", to=["rust", "yes", "a b"]),
        "    technologies: [rust,   python]   # in brackets",
        '    technologies: [rust, "yes", "a b"]   # in brackets',
    ),
    (
        set_at("project_context", "key_files", 0, to="src/a.rs"),
        "    - src/main.rs   # the entry",
        "    - src/a.rs   # the entry",
    ),
    (
        set_at("metadata", "b", "c", to=None),
        "metadata: {a: 1, b: {c: 2}}   # all on one line",
        "metadata: {a: 1, b: {c: null}}   # all on one line",
    ),
    (set_at("history", "max_turns", to=17), "  max_turns: 0x10", "  max_turns: 17"),
    (
        set_at("history", "turns", 0, "role", to="assistant"),
        "    role: user   # me",
        "    role: assistant   # me",
    ),
    (set_at("history", "turns", 0, "tags", 0, to="c"), "    - a # tag a", "    - c # tag a"),
    (
        set_at("history", "turns", 2, "metadata", "k", to=2),
        "    metadata: {k: 1}",
        "    metadata: {k: 2}",
    ),
]


@pytest.mark.parametrize(("change", "before", "after"), ONE_LINE)
def test_one_changed_value_is_one_changed_line(change: Any, before: str, after: str) -> None:
    result = saved(change)
    assert result == EDITED.replace(before + "\n", after + "\n", 1)


def test_an_appended_turn_is_appended_lines() -> None:
    turn = {"id": "t4", "role": "user", "content": "one\ntwo"}
    result = saved(lambda document: document["history"]["turns"].append(turn))
    assert result == EDITED.replace(
        "# end of file",
        "  - id: t4\n    role: user\n    content: |-\n      one\n      two\n# end of file",
    )


def test_a_removed_turn_takes_only_its_own_comments() -> None:
    result = saved(delete_at("history", "turns", 1))
    start, end = EDITED.index("  # turn two"), EDITED.index("  - id: t3")
    assert result == EDITED[:start] + EDITED[end:]


def test_moved_and_inserted_turns_take_their_comments_along() -> None:
    def change(document: Any) -> None:
        one, two, three = document["history"]["turns"]
        document["history"]["turns"] = [two, {"id": "new"}, one, three]

    result = saved(change)
    order = re.findall(r"# turn \w+|id: t\d|id: new", result)
    assert order == ["# turn two", "id: t2", "id: new", "# turn one", "id: t1", "id: t3"]


def test_a_new_top_level_key_stands_where_the_document_has_it() -> None:
    document: Document = {}
    for name, value in START.items():
        document[name] = value
        if name == "metadata":
            document["extra"] = {"a": [1, "x\ny"]}
    data = codec.encode(document, previous=EDITED.encode()).decode()
    lines = "extra:\n  a:\n  - 1\n  - |-\n    x\n    y\n"
    assert data == EDITED.replace("notes: |", lines + "notes: |")


def test_a_text_in_quotes_over_lines_is_rewritten_in_its_part_only() -> None:
    result = saved(set_at("history", "turns", 2, "content", to="short"))
    gone, come = changed_lines(EDITED, result)
    assert come == ['    content: "short"   # over two lines']
    assert set(gone) <= {'    content: "a long', '      quoted text"   # over two lines', "    metadata: {k: 1}"}  # fmt: skip
    for comment in ("# me", "# tag a", "# end of file", "# my", "# turn one", "# in brackets"):
        assert (comment in result) == (comment in EDITED)


def test_a_literal_block_is_replaced_below_its_comment() -> None:
    result = saved(set_at("notes", to="other\ntext\n"))
    assert "notes: |  # kept note\n  other\n  text\nhistory:" in result


def test_emptied_and_filled_collections() -> None:
    result = saved(set_at("history", "turns", 0, "tags", to=[]))
    assert "    tags: []\n" in result
    assert "# turn two" in result
    again = saved(set_at("history", "turns", 0, "tags", to=["z"]), result)
    assert "    tags:\n    - z\n" in again
    none_left = saved(set_at("history", "turns", to=[]))
    assert "# in brackets" in none_left
    assert "# the limit" in none_left


def test_windows_line_breaks_and_byte_order_mark_stay() -> None:
    text = "\ufeff" + EDITED.replace("\n", "\r\n")
    result = saved(lambda document: document["history"]["turns"].append({"id": "t4"}), text)
    assert result == text.replace("# end of file", "  - id: t4\r\n# end of file")
    result = saved(set_at("history", "turns", 0, "role", to="x"), text)
    assert result == text.replace("role: user   # me", "role: x   # me")


def test_a_file_that_does_not_end_its_last_line() -> None:
    text = EDITED.removesuffix("# end of file\n").rstrip("\n")
    result = saved(lambda document: document["history"]["turns"].append({"id": "t4"}), text)
    assert result.startswith(text + "\n")
    assert result.endswith("  - id: t4\n")


def test_a_document_between_marks_keeps_them() -> None:
    text = "---\n" + EDITED.removesuffix("# end of file\n") + "...\n# after\n"
    result = saved(lambda document: document["history"]["turns"].append({"id": "t4"}), text)
    assert result == text.replace("...\n", "  - id: t4\n...\n")


def test_line_breaks_that_parsers_dispute_still_keep_comments() -> None:
    text = EDITED.replace("hello", '"hel\u2028lo"')
    result = saved(set_at("version", to=2), text)
    assert result == text.replace("version: 1", "version: 2")


@pytest.mark.parametrize("value", HOSTILE)
def test_any_text_may_be_put_into_an_edited_file(value: str) -> None:
    result = saved(set_at("history", "turns", 0, "content", to=value))
    assert "# what I said" in result
    assert "# me" in result
    result = saved(set_at("project_context", "technologies", to=[value, {"k": value}]))
    assert "# four spaces, as I like it" in result
    result = saved(set_at("metadata", "b", to={value: [value]}))
    assert "# all on one line" in result


def test_without_patches_the_tree_keeps_most_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(text: str, old: Any, new: Any) -> str:
        raise patch.CannotPatchError

    monkeypatch.setattr(keep, "patch_text", give_up)
    result = saved(set_at("history", "turns", 0, "role", to="assistant"))
    for comment in ("# turn one", "# me", "# what I said", "# tag a"):
        assert comment in result
    monkeypatch.setattr(keep, "rewrite_text", lambda *_: None)
    result = saved(set_at("history", "turns", 0, "role", to="assistant"))
    assert "# turn one" in result
    assert "# what I said" not in result
    assert "# turn two" in result


def test_a_patch_that_is_wrong_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = EDITED[: EDITED.index("history:")]
    for wrong in ("", "a: [", "  - id: t1\n    role: nobody\n", EDITED):
        monkeypatch.setattr(keep, "patch_text", lambda *_, wrong=wrong: wrong)
        assert saved(set_at("history", "turns", 0, "role", to="assistant")).startswith(rest)
        assert "# turn one" in saved(set_at("project_context", "name", to="x"))


def test_a_part_that_reads_otherwise_among_the_others_is_not_taken() -> None:
    # A last line without a line break ends differently when something follows it.
    assert "# c" in saved(set_at("z", to=1), "# c\na: 1\nk: |\n  x")


def test_the_sign_of_zero_is_a_change() -> None:
    assert saved(set_at("a", to=-0.0), "a: 0.0 # c\n") == "a: -0.0 # c\n"


def test_the_tree_does_not_fold_or_close_or_crawl() -> None:
    text = 'a: "' + "word  \t" * 40 + '"  # c\nb: [1,\n  2]\n'
    old = codec.decode(text.encode())
    result = rewrite_text(text, old, {**old, "b": "x\n\n"}, "")
    assert result is not None
    assert result.splitlines()[1:] == ["b: |+", "  x", ""]  # the long line is still one
    assert not result.endswith("...\n")
    assert rewrite_text("a: 1 # " + "x" * 50_000 + "\n", {"a": 1}, {"a": 2}, "") is None


def annotate(text: str, chance: random.Random) -> str:
    """Put comments and gaps between the lines, some of them inside of texts."""
    lines, out, count = text.split("\n")[:-1], [], 0
    for line in lines:
        indent = re.match(r" *", line)
        if chance.random() < 0.3 and indent is not None and re.match(r" *(- )?[a-z_]+:", line):
            out.append(f"{indent[0]}# c{count}")
            count += 1
        if chance.random() < 0.1:
            out.append("")
        out.append(line)
    return "\n".join(out) + "\n"


def edit(value: Any, chance: random.Random) -> Any:  # noqa: PLR0911 - one line for each way
    """Change something somewhere in a value."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        if chance.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if chance.random() < 0.2:
            return {
                **value,
                chance.choice(["new", "x: y", "é"]): chance.choice([1, "a\nb", {}, [[]]]),
            }
        return {**value, key: edit(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        if chance.random() < 0.3:
            return value[:at] + value[at + 1 :]
        if chance.random() < 0.3:
            return [*value[:at], chance.choice(["n", {"id": "n"}, [1, [2]]]), *value[at:]]
        return [*value[:at], edit(value[at], chance), *value[at + 1 :]]
    return chance.choice(["s", "a: b", "l\nm\n", 7, 1.5, None, True, [], {}, ["q"], {"r": "s\n\n"}])


@given(sessions, st.integers())
def test_random_edits_of_commented_files(document: Document, seed: int) -> None:
    chance = random.Random(seed)
    text = annotate(codec.encode(document).decode(), chance)
    try:
        before = codec.decode(text.encode())
    except ValueError:
        return
    after = edit(before, chance)
    if not isinstance(after, dict):
        after = {"v": after}
    data = codec.encode(after, previous=text.encode())
    assert is_same(codec.decode(data), after)
    for comment in comments_of_unchanged(text, before, after):
        assert comment in data.decode(), comment


def comments_of_unchanged(text: str, before: Document, after: Document) -> list[str]:
    """Return the comments inside the entries, and the turns, that did not change."""
    found: list[str] = []
    starts = [match.start() for match in re.finditer(r"^(?=[a-z_]+:)", text, re.MULTILINE)]
    for start, end, name in zip(starts, [*starts[1:], len(text)], before, strict=False):
        part = text[start:end]
        if not part.startswith(name + ":"):
            return []
        # Comments at the margin belong to the next entry.
        inner = [line.strip() for line in part.splitlines() if re.match(r" +# c\d+$", line)]
        if name in after and is_same(before[name], after[name]):
            found += inner
        elif name == "history" and isinstance(after.get(name), dict):
            found += comments_of_unchanged_turns(part, before[name], after[name])
    return found


def comments_of_unchanged_turns(part: str, before: Any, after: Any) -> list[str]:
    turns, now = before.get("turns"), after.get("turns")
    if not turns or not isinstance(now, list) or any("id" not in turn for turn in turns):
        return []
    found: list[str] = []
    cuts = re.split(r"^(?:  # c\d+\n)*(?=  - id: )", part, flags=re.MULTILINE)[1:]
    if len(cuts) == len(turns) and now:
        for turn, cut in zip(turns, cuts, strict=True):
            if turn in now and is_same(turn, now[now.index(turn)]):
                found += re.findall(r"^ {4,}(# c\d+)$", cut, re.MULTILINE)
    return found


def test_a_large_commented_file_takes_a_save_in_well_under_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = "a line of some text: and more\n" * 35
    turns = [{"id": f"t{i}", "role": "user", "content": body} for i in range(1000)]
    document: Document = {"id": "s-1", "version": 1, "history": {"turns": turns}}
    text = codec.encode(document).decode().replace("  - id: t500\n", "  # mine\n  - id: t500\n")
    changed = copy.deepcopy(document)
    changed["history"]["turns"].append({"id": "new", "role": "user"})
    started = time.process_time()
    data = codec.encode(changed, previous=text.encode())
    took = time.process_time() - started
    assert data.decode() == text + "  - id: new\n    role: user\n"
    with capsys.disabled():
        print(f"\nsave over {len(text) / 1e6:.2f} MB by hand: {took * 1e3:.0f} ms")
    assert took < 1
