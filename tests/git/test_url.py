"""What is taken for the URL of a remote, what is refused, and what is shown of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstore.errors import InvalidRemoteError
from gitstore.git.remote.url import masked, parse_url


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "username", "path"),
    [
        ("/srv/x.git", "file", None, None, None, "/srv/x.git"),
        ("../x", "file", None, None, None, "/home/x"),
        ("./a:b", "file", None, None, None, "/home/ann/a:b"),
        ("-x", "file", None, None, None, "/home/ann/-x"),
        ("file:///srv/a%20b", "file", None, None, None, "/srv/a b"),
        ("file://localhost/srv", "file", None, None, None, "/srv"),
        ("host:x/y.git", "ssh", "host", None, None, "x/y.git"),
        ("ann@host:/x", "ssh", "host", None, "ann", "/x"),
        ("ann@[::1]:x", "ssh", "[::1]", None, "ann", "x"),
        ("ssh://ann@host:22/x/y", "ssh", "host", 22, "ann", "/x/y"),
        ("ssh://host/~ann/x", "ssh", "host", None, None, "~ann/x"),
        ("SSH://host/x", "ssh", "host", None, None, "/x"),
        ("git://host/x", "git", "host", None, None, "/x"),
        ("git://[fe80::1%25eth0]:9/x", "git", "[fe80::1%25eth0]", 9, None, "/x"),
        ("https://ann@host/x%20y", "https", "host", None, "ann", "/x%20y"),
        ("http://host:8080", "http", "host", 8080, None, ""),
    ],
)
def test_what_a_url_means(
    text: str, scheme: str, host: str | None, port: int | None, username: str | None, path: str
) -> None:
    url = parse_url(text, folder="/home/ann")
    assert (url.scheme, url.host, url.port, url.username, url.path) == (
        scheme, host, port, username, path,
    )  # fmt: skip
    assert url.text == text
    assert url.password is None


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "ext::sh -c id", "transport::x", "ftp://host/x", "rsync://host/x", "javascript://x/y",
        "-oProxyCommand=id:x", "ssh://-oProxyCommand=id/x", "ssh://-l@host/x", "-l@host:x", "@host:x",
        "host:-x", "ssh://host/", "ssh://host", "git://host", "git://ann@host/x", "git:///x",
        "ssh://ann:secret@host/x", "ssh://host/%2d%2dx\n", "file://host/x", "file://x", "host:",
        "ssh://host/a%0ab", "git://host/a%00b", "https://ann%0a@host/x", "https://host\n.evil/x",
        "https://host:99999/x", "https://host:0/x", "https://host:x/y", "https://ho st/x",
        "https://host/x?y", "https://host/x#y", "https:///x", "ssh://ann@[::1/x", "a\x1b[31m",
        "git://host:1:2/x", "https://a@b@c/x",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidRemoteError) as caught:
        parse_url(text, folder="/")
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


def test_user_name_and_password_are_used_and_not_shown() -> None:
    url = parse_url("https://ann%40x:pass%3aword@host:8/x", folder="/")
    assert (url.username, url.password) == ("ann@x", "pass:word")
    assert url.shown == "https://host:8/x"
    for text in (url.shown, repr(url), str(url)):
        assert "pass" not in text
        assert "%3a" not in text
    assert parse_url("ann@host:x", folder="/").shown == "host:x"
    assert parse_url("ssh://ann@host/x", folder="/").shown == "ssh://host/x"
    assert masked("weird://ann:secret@host/x") == "weird://host/x"
    assert masked("ann:secret@host:x") == "host:x"


@given(
    st.text(max_size=40) | st.from_regex(r"[a-z]{0,5}:?/{0,2}[\w@:%.\[\]/-]{0,20}", fullmatch=True)
)
def test_any_text_is_a_url_or_one_error(text: str) -> None:
    try:
        url = parse_url(text, folder="/")
    except InvalidRemoteError as error:
        assert str(error).isprintable()  # noqa: PT017 -- most texts are refused
        return
    assert url.path.isprintable()
    assert (url.host is None) == (url.scheme == "file")
    assert not (url.host or "").startswith("-")
    assert not (url.username or "").startswith("-") or url.scheme in ("http", "https")
    assert not url.path.startswith("-")
