"""The file index: what is written reads back, and what was replaced is gone."""

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.archive import IndexEntry, IndexWriter, read_index
from layertool.errors import StoreError

_entry = st.builds(
    IndexEntry,
    path=st.binary(max_size=30),
    type=st.sampled_from("fdlhcbpwo"),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    size=st.integers(0, 2**62),
    mtime_ns=st.integers(-(2**62), 2**62),
    sha256=st.binary(max_size=32),
    link=st.binary(max_size=30),
    device=st.none() | st.tuples(st.integers(0, 4095), st.integers(0, 2**20)),
)


def _written(entries: Iterable[IndexEntry]) -> io.BytesIO:
    file = io.BytesIO()
    writer = IndexWriter(file)
    for entry in entries:
        writer.add(entry)
    writer.close()
    file.seek(0)
    return file


@given(st.lists(_entry, max_size=20), st.integers(1, 60))
def test_reads_back(entries: list[IndexEntry], times: int) -> None:
    assert list(read_index(_written(entries * times))) == entries * times


def test_replaced_paths_go() -> None:
    file = io.BytesIO()
    writer = IndexWriter(file)
    for path in (b"a", b"a/b", b"a/b/c", b"ab", b"d"):
        writer.add(IndexEntry(path, "d"))
    writer.removed(b"a")
    writer.add(IndexEntry(b"a", "f", size=1))
    writer.replaced(b"d")
    writer.add(IndexEntry(b"d", "d", mode=0o700))
    writer.close()
    file.seek(0)
    assert [(entry.path, entry.type, entry.mode) for entry in read_index(file)] == [
        (b"ab", "d", 0),
        (b"a", "f", 0),
        (b"d", "d", 0o700),
    ]


@pytest.mark.parametrize("cut", [0, 5, 20, 25, -1])
def test_damage(cut: int) -> None:
    whole = _written([IndexEntry(b"a", "f", sha256=bytes(32))]).getvalue()
    with pytest.raises(StoreError):
        list(read_index(io.BytesIO(whole[:cut])))
    with pytest.raises(StoreError):
        list(read_index(io.BytesIO(whole[:22] + b"\xff" * 40)))
