"""Rules about the code that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import gitstore
from gitstore import BlockingSessionStore, GitSessionStore, SessionStore, StorageError, errors

LINES_MAX = 400
FUNCTION_LINES_MAX = 50
PACKAGE = Path(gitstore.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}


def modules() -> list[Any]:
    names = [each.name for each in pkgutil.walk_packages([str(PACKAGE)], "gitstore.")]
    return [
        gitstore,
        *(importlib.import_module(name) for name in names if not name.endswith("__main__")),
    ]


def public(namespace: Any) -> dict[str, Any]:
    """Return the public methods and properties that a class defines itself."""
    return {name: value for name, value in vars(namespace).items() if not name.startswith("_")}


def function(value: Any) -> Any:
    return getattr(value, "fget", None) or inspect.unwrap(getattr(value, "__func__", value))


# --- the twins ------------------------------------------------------------------


def store(kind: type) -> dict[str, Any]:
    """Return the public methods and properties of a store, with those of its halves."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__[:-1]):
        found |= public(each)
    return found


BLOCKING, AWAITED = store(BlockingSessionStore), store(GitSessionStore)


def test_the_twins_have_the_same_methods() -> None:
    assert {*AWAITED} == {*BLOCKING}


@pytest.mark.parametrize("name", sorted(BLOCKING))
def test_the_twins_have_the_same_signatures(name: str) -> None:
    one, two = (inspect.signature(function(kind[name])) for kind in (BLOCKING, AWAITED))
    assert [*one.parameters.values()] == [*two.parameters.values()]
    returned = [
        # What is iterated or entered here is so asynchronously there.
        str(each.return_annotation).replace("builtins.", "").replace("Async", "")
        for each in (one, two)
    ]
    assert returned[0] == returned[1]
    assert type(BLOCKING[name]) is type(AWAITED[name])


@pytest.mark.parametrize("name", sorted(BLOCKING))
def test_the_twins_have_the_same_documentation(name: str) -> None:
    text = inspect.getdoc(BLOCKING[name])
    assert text
    assert inspect.getdoc(AWAITED[name]) == text


def test_every_method_that_may_block_is_awaited() -> None:
    for name, value in AWAITED.items():
        if not isinstance(value, property):
            made = function(value)
            assert inspect.iscoroutinefunction(made) or inspect.isasyncgenfunction(made), name


@pytest.mark.parametrize("name", sorted(public(SessionStore)))
def test_the_store_has_the_contracts_signatures(name: str) -> None:
    contract, store = (function(vars(kind)[name]) for kind in (SessionStore, GitSessionStore))
    one, two = inspect.signature(contract), inspect.signature(store)
    asked, offered = [*one.parameters.values()], [*two.parameters.values()]
    assert offered[: len(asked)] == asked
    more = offered[len(asked) :]
    assert all(each.kind is each.KEYWORD_ONLY and each.default is not each.empty for each in more)


# --- the face ----------------------------------------------------------------------


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_all_is_sorted_and_true(module: Any) -> None:
    names = getattr(module, "__all__", None)
    if names is None:
        return
    # Constants, classes, functions: the order that ruff's RUF022 keeps.
    order = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert [*names] == order
    assert len({*names}) == len(names)
    for name in names:
        assert hasattr(module, name), name


def test_the_face_shows_everything_that_it_imports() -> None:
    tree = TREES[PACKAGE / "__init__.py"]
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported - {"annotations"} == {*gitstore.__all__} - {"__version__"}


def test_the_face_has_every_error_and_every_type_of_a_signature() -> None:
    raised = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    ours = {name for name in raised if issubclass(getattr(errors, name), StorageError)}
    assert ours <= {*gitstore.__all__}
    types = importlib.import_module("gitstore.types")
    defined = {
        name
        for node in TREES[PACKAGE / "types.py"].body
        for name in _defined(node)
        if not name.startswith("_")
    }
    assert defined <= {*gitstore.__all__}, "a type that callers meet"
    assert all(hasattr(types, name) for name in defined)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_the_drawn_error_tree_is_the_real_one() -> None:
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"( *)\* (\w+)", line):
            depth = len(match[1]) // 2
            above[depth:] = [match[2]]
            drawn[match[2]] = above[depth - 1] if depth else None
    real = {
        name: value.__bases__[0].__name__ if value is not StorageError else None
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, StorageError)
    }
    assert drawn == real


def test_the_drawn_error_tree_tells_the_truth_about_each() -> None:
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r" *\* (\w+) +(.*)", line)
        if match is None:
            continue
        kind, words = getattr(errors, match[1]), match[2]
        for builtin in (LookupError, ValueError):
            also = f"also a {builtin.__name__}" in words
            inherited = any(issubclass(base, builtin) for base in kind.__bases__[:1])
            assert issubclass(kind, builtin) == (also or inherited), kind
        assert kind.retryable == ("retryable" in words), kind


# --- size, words, and what is not done ----------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_fits_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            # The words at the door do not count: what is read as code does.
            words = (
                (first.end_lineno or 0) - first.lineno + 1
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                else 0
            )
            length = (node.end_lineno or 0) - node.lineno + 1 - words
            assert length <= FUNCTION_LINES_MAX, f"{node.name}: {length} lines"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_name_is_documented(module: Any) -> None:
    assert inspect.getdoc(module)
    for name, value in public(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        made_by_another = "<locals>" in getattr(value, "__qualname__", "")
        if (inspect.isfunction(value) and not made_by_another) or inspect.isclass(value):
            assert value.__doc__, name
        if inspect.isclass(value):
            for member, each in public(value).items():
                if inspect.isfunction(function(each)):
                    assert inspect.getdoc(getattr(value, member)), f"{name}.{member}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [
        node
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "input", "breakpoint")
    ]
    assert not calls or "cli" in path.relative_to(PACKAGE).parts


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_rule_that_is_off_says_why(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.search(r"# (noqa|type: ignore|pyright: ignore|pragma)(.*)", line):
            where = f"{path.name}:{number}"
            assert re.search(r"[:\[] ?[\w-]+", match[2]) or match[1] == "pragma", where
            assert re.search(r" --? \w+", match[2]) or "ignore" in match[1], (
                f"{where} has no reason"
            )


def test_the_contract_needs_no_test_tool() -> None:
    for path in (PACKAGE / "testing").glob("*.py"):
        names = [
            name
            for node in ast.walk(TREES[path])
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        assert not {name.partition(".")[0] for name in names} & {"pytest", "hypothesis", "trio"}
