r"""The text of ``-o`` arguments: splitting at separators, backslash escapes, quoted labels.

The grammar is that of kernel overlayfs (``ovl_next_opt`` and ``ovl_unescape`` in
fs/overlayfs/params.c): one level of escapes, where a backslash makes the next byte literal. So
``\,`` is a comma inside a value, ``\:`` a colon inside a layer's path, ``\\`` a backslash, and a
backslash before any other byte disappears.
"""

from collections.abc import Iterable, Iterator

from unionfs.errors import UnionError, printable

_BACKSLASH = ord("\\")
_QUOTE = b'"'
_COMMA = b","

# SELinux labels hold commas ("s0:c1,c2") and container tools write them in quotes. Only these
# names are unquoted, because in every other value a quote is an ordinary byte of a path.
_QUOTED_NAMES = frozenset((b"context", b"fscontext", b"defcontext", b"rootcontext"))


def split_options(text: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (name, raw value) for each item of one ``-o`` argument; the value is still escaped.

    The value is None for a bare word. Empty items are skipped, since ``a,,b`` occurs in the wild
    (containers/storage issue 1654).

    Raises:
        UnionError: a quoted label has no closing quote.
    """
    start = 0
    while start < len(text):
        end = _option_end(text, start)
        item = text[start:end]
        if item:
            yield _name_and_value(item)
        start = end + 1


def split_escaped(text: bytes, separator: bytes) -> list[bytes]:
    """Split at each unescaped one-byte separator; the parts are still escaped."""
    parts = []
    start = 0
    while (end := _find_unescaped(text, separator, start)) < len(text):
        parts.append(text[start:end])
        start = end + 1
    parts.append(text[start:])
    return parts


def unescape(text: bytes) -> bytes:
    """Remove one level of backslash escapes."""
    if _BACKSLASH not in text:
        return text
    plain = bytearray()
    position = 0
    while position < len(text):
        if text[position] == _BACKSLASH:
            position += 1
        plain += text[position : position + 1]
        position += 1
    return bytes(plain)


def escape(text: bytes, special: Iterable[bytes] = (b",", b":")) -> bytes:
    """Write a value so that `unescape` gives it back and no separator in it counts."""
    escaped = text.replace(b"\\", b"\\\\")
    for byte in special:
        escaped = escaped.replace(byte, b"\\" + byte)
    return escaped


def _option_end(text: bytes, start: int) -> int:
    name_end = text.find(b"=", start)
    value = name_end + 1
    if (
        name_end < 0
        or text[start:name_end] not in _QUOTED_NAMES
        or not text.startswith(_QUOTE, value)
    ):
        return _find_unescaped(text, _COMMA, start)
    closing = text.find(_QUOTE, value + 1)
    if closing < 0:
        raise UnionError(
            f"option {printable(text[start:])} has no closing quote: "
            'write context="LABEL", with the quotes reaching this program'
        )
    return _find_unescaped(text, _COMMA, closing)


def _find_unescaped(text: bytes, separator: bytes, start: int) -> int:
    """Return where the next separator is, or the length of the text."""
    wanted = separator[0]
    position = start
    while position < len(text) and text[position] != wanted:
        position += 2 if text[position] == _BACKSLASH else 1
    return min(position, len(text))


def _name_and_value(item: bytes) -> tuple[bytes, bytes | None]:
    name, equals, value = item.partition(b"=")
    if not equals:
        return name, None
    if name in _QUOTED_NAMES and len(value) >= 2 and value[:1] == value[-1:] == _QUOTE:
        # What was quoted is literal, but the caller removes one level of escapes from every value.
        value = escape(value[1:-1], ())
    return name, value
