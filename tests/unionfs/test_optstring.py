"""The text grammar of -o: kernel overlayfs' escapes, quoted labels, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.errors import UnionError
from unionfs.optstring import escape, split_escaped, split_options, unescape

NAMES = st.binary(max_size=12).map(lambda name: name.replace(b"\0", b"0"))


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (b"", []),
        (b",,", []),
        (b"ro", [(b"ro", None)]),
        (b"ro,,rw,", [(b"ro", None), (b"rw", None)]),
        (b"a=", [(b"a", b"")]),
        (b"a=b=c", [(b"a", b"b=c")]),
        (b"lowerdir+=x", [(b"lowerdir+", b"x")]),
        (rb"lowerdir=l\,m,ro", [(b"lowerdir", rb"l\,m"), (b"ro", None)]),
        (rb"lowerdir=l\\,ro", [(b"lowerdir", rb"l\\"), (b"ro", None)]),
        (b'upperdir="a,b"', [(b"upperdir", b'"a'), (b'b"', None)]),
        (b'context="a,b",ro', [(b"context", b"a,b"), (b"ro", None)]),
        (b'ro,context="u:o:t:s0:c1,c2"', [(b"ro", None), (b"context", b"u:o:t:s0:c1,c2")]),
        (b"context=plain,ro", [(b"context", b"plain"), (b"ro", None)]),
        (b'context=""', [(b"context", b"")]),
    ],
)
def test_splits_options(text: bytes, items: list[tuple[bytes, bytes | None]]) -> None:
    assert list(split_options(text)) == items


def test_an_open_quote_is_refused_with_the_remedy() -> None:
    with pytest.raises(UnionError, match="no closing quote: write context="):
        list(split_options(b'ro,context="a,b'))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (rb"l\:c", b"l:c"),
        (rb"l\,m", b"l,m"),
        (rb"l\\b", rb"l\b"),
        (rb"l\b", b"lb"),
        (b"end\\", b"end"),
        (b"plain", b"plain"),
    ],
)
def test_unescapes_as_the_kernel_does(text: bytes, plain: bytes) -> None:
    assert unescape(text) == plain


@given(st.lists(NAMES, min_size=1))
def test_escaped_parts_survive_a_join(parts: list[bytes]) -> None:
    joined = b":".join(escape(part) for part in parts)
    assert [unescape(part) for part in split_escaped(joined, b":")] == parts


@given(st.lists(st.tuples(st.from_regex(rb"[a-z_+]{1,8}", fullmatch=True), NAMES)))
def test_escaped_values_survive_a_whole_option_string(options: list[tuple[bytes, bytes]]) -> None:
    text = b",".join(name + b"=" + escape(value, (b",",)) for name, value in options)
    read = [(name, unescape(raw or b"")) for name, raw in split_options(text)]
    assert read == options
