"""Changes a part of a file through ruamel's round-trip tree, which keeps most comments.

It knows forms that cannot be changed line by line. It also has mistakes (it can move a comment, or
write what cannot be read), so that the caller proves the result by reading it.
"""

from __future__ import annotations

import re
import sys
from io import StringIO
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from gitstore.session.codec.match import pair_items, same
from gitstore.session.codec.scalars import string
from gitstore.session.values import Value, is_list, is_map

#: The tree takes three seconds for each million characters.
_CHARS_MAX: Final = 100_000
#: It takes quadratic time for a long comment.
_long_comment = re.compile("#[^\n]{2000}").search
_STYLES: Final = ("|", "'", '"')


class _Representer(RoundTripRepresenter):
    """Spells the new values as the canonical form does."""

    def spell_text(self: Value, text: str) -> Value:
        style = string(text, "")[0]
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, style=style if style in _STYLES else ""
        )

    def spell_null(self: Value, value: None) -> Value:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_register = cast("Any", _Representer).add_representer
_register(str, _Representer.spell_text)
_register(type(None), _Representer.spell_null)


def rewrite_text(text: str, old: Value, new: Value, indent: str) -> str | None:
    """Return the text of `old` made the text of `new`, unproved; None when it is too large.

    `indent` stands before the lines of the root.
    """
    if len(text) > _CHARS_MAX or _long_comment(text):
        return None
    yaml: Any = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize  # a fold in double quotes loses white space
    yaml.Representer = _Representer
    tree = yaml.load(text)
    _update(tree, old, new)
    out = StringIO()
    yaml.dump(tree, out)
    # Behind a block that keeps its last line breaks the emitter closes the document.
    lines = out.getvalue().removesuffix("...\n")
    return re.sub("^(?=.)", indent, lines, flags=re.MULTILINE)


def _update(tree: Value, old: Value, new: Value) -> None:
    if is_map(new):
        for name in [name for name in old if name not in new]:
            del tree[name]
        for name, value in new.items():
            tree[name] = _updated(tree[name], old[name], value) if name in old else value
        return
    sources = pair_items(old, new)
    items = [
        item if source is None else _updated(tree[source], old[source], item)
        for item, source in zip(new, sources, strict=True)
    ]
    tree[:] = items


def _updated(tree: Value, old: Value, new: Value) -> Value:
    """Return the tree, or what takes its place."""
    if same(old, new):
        return tree
    if type(old) is type(new) and (is_map(new) or is_list(new)) and old and new:
        _update(tree, old, new)
        return tree
    return new
