"""Names in messages: one printable line whatever a hostile layer calls its files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.errors import printable


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"/plain name", "/plain name"),
        ("/größe/日本".encode(), "/größe/日本"),
        (b"a\nb", r"a\nb"),
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\xff", r"\xff"),
        ("\u202e".encode(), r"\u202e"),
    ],
)
def test_writes_names_for_people(name: bytes, text: str) -> None:
    assert printable(name) == text


@given(st.binary())
def test_is_always_one_printable_line(name: bytes) -> None:
    assert printable(name).isprintable()
