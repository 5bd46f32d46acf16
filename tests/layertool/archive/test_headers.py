"""The tar codec against Python's tarfile, in both directions, and its own corners."""

import io
import os
import tarfile

import pytest
from archivetest.craft import extended, gnu_sparse, member, tar
from hypothesis import given
from hypothesis import strategies as st

from layertool.archive import headers
from layertool.archive.headers import Entry
from layertool.archive.reader import TarReader
from layertool.errors import BadArchive

_NS = 1_000_000_000
_part = st.binary(min_size=1, max_size=60).filter(
    lambda part: b"/" not in part and b"\0" not in part and part not in (b".", b"..")
)
_path = st.lists(_part, min_size=1, max_size=6).map(b"/".join)
_xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b", b"security.capability"]), st.binary(max_size=40)
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """Any entry that a tree can give, with its data."""
    kind = draw(st.sampled_from(b"0 1 2 3 4 5 6".split()))
    data = draw(st.binary(max_size=1200)) if kind == headers.FILE else b""
    name = draw(_path)
    entry = Entry(
        name + b"/" if kind == headers.DIRECTORY else name,
        kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.sampled_from([0, 1000, 2_097_151, 2_097_152, 2**32 - 2])),
        gid=draw(st.sampled_from([0, 65534, 2**31])),
        size=len(data),
        mtime_ns=draw(st.integers(-(10**9), 2**36)) * _NS,
        xattrs=draw(_xattrs),
    )
    if kind in (headers.HARDLINK, headers.SYMLINK):
        entry.link = draw(_path)
    if kind in (headers.CHARACTER, headers.BLOCK_DEVICE):
        entry.major, entry.minor = draw(st.integers(0, 255)), draw(st.integers(0, 65535))
    return entry, data


def _archive(members: list[tuple[Entry, bytes]]) -> bytes:
    return (
        b"".join(
            headers.encode(entry) + data + bytes(headers.padding(len(data)))
            for entry, data in members
        )
        + headers.END_OF_ARCHIVE
    )


def _read(archive: bytes) -> list[tuple[Entry, bytes]]:
    found = []
    with TarReader(io.BytesIO(archive)) as reader:
        for entry in reader:
            data = b""
            while len(data) < entry.size:
                data += reader.view(entry.size - len(data))
            found.append((entry, data))
    return found


@given(st.lists(entries(), max_size=5))
def test_what_is_written_reads_back(members: list[tuple[Entry, bytes]]) -> None:
    assert _read(_archive(members)) == members


@given(st.lists(entries(), min_size=1, max_size=5))
def test_tarfile_reads_what_we_write(members: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(_archive(members))) as archive:
        for (entry, data), info in zip(members, archive, strict=True):
            assert os.fsencode(info.name) == entry.name.rstrip(b"/")
            assert info.type == entry.type
            assert info.mode == entry.mode
            assert (info.uid, info.gid) == (entry.uid, entry.gid)
            assert int(info.mtime) * _NS == entry.mtime_ns
            assert os.fsencode(info.linkname) == entry.link
            assert (info.devmajor, info.devminor) == (entry.major, entry.minor)
            if entry.type == headers.FILE:
                content = archive.extractfile(info)
                assert content is not None and content.read() == data


@given(
    st.lists(entries(), min_size=1, max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_we_read_what_tarfile_writes(
    members: list[tuple[Entry, bytes]], archive_format: int
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=archive_format) as archive:
        for entry, data in members:
            info = tarfile.TarInfo(os.fsdecode(entry.name))
            info.type, info.mode = entry.type, entry.mode
            info.uid, info.gid, info.size = entry.uid, entry.gid, len(data)
            info.mtime = entry.mtime_ns // _NS
            info.linkname = os.fsdecode(entry.link)
            info.devmajor, info.devminor = entry.major, entry.minor
            archive.addfile(info, io.BytesIO(data))
    found = _read(out.getvalue())
    for (entry, data), (read, content) in zip(members, found, strict=True):
        entry.xattrs = {}
        # tarfile adds its slash to directories even when there is one.
        read.name = read.name.rstrip(b"/") + (b"/" if entry.type == headers.DIRECTORY else b"")
        assert (read, content) == (entry, data)


@given(st.lists(entries(), min_size=1, max_size=3), st.data())
def test_damage_is_refused_or_harmless(
    members: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    """A flipped byte gives entries or BadArchive, never another exception or an endless loop."""
    archive = bytearray(_archive(members))
    at = data.draw(st.integers(0, len(archive) - 1))
    archive[at] ^= data.draw(st.integers(1, 255))
    try:
        _read(bytes(archive))
    except BadArchive as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=2000))
def test_pax_records_never_crash(data: bytes) -> None:
    try:
        headers.pax_records(data)
    except BadArchive:
        pass


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (b"1.5", 1_500_000_000),
        (b"1700000000.123456789", 1_700_000_000_123_456_789),
        (b"1700000000.1234567891", 1_700_000_000_123_456_789),
        (b"-1.25", -1_250_000_000),
        (b"0", 0),
        (b"3.", 3_000_000_000),
    ],
)
def test_times_are_exact(value: bytes, ns: int) -> None:
    ((entry, _),) = _read(tar(member(b"a", pax={b"mtime": value})))
    assert entry.mtime_ns == ns


def test_an_empty_record_takes_the_override_back() -> None:
    head = extended({b"path": b"global", b"uid": b"7"}, b"g")
    found = _read(tar(head, member(b"a", uid=5, pax={b"uid": b"", b"path": b"own"}), member(b"b")))
    assert [(entry.name, entry.uid) for entry, _ in found] == [(b"own", 7), (b"global", 7)]


def test_libarchive_attributes_are_decoded() -> None:
    pax = {b"LIBARCHIVE.xattr.user.sp%20ace": b"AAEC"}
    ((entry, _),) = _read(tar(member(b"a", pax=pax)))
    assert entry.xattrs == {b"user.sp ace": b"\0\1\2"}


@pytest.mark.parametrize(
    "archive",
    [
        tar(gnu_sparse(b"s", [(2, 3), (8, 2)], 12, b"abcde")),
        tar(
            member(
                b"GNUSparseFile/s",
                data=b"abcde",
                pax={
                    b"GNU.sparse.name": b"s",
                    b"GNU.sparse.size": b"12",
                    b"GNU.sparse.map": b"2,3,8,2",
                },
            )
        ),
        tar(
            member(
                b"GNUSparseFile/s",
                data=b"2\n2\n3\n8\n2\n".ljust(512, b"\0") + b"abcde",
                pax={
                    b"GNU.sparse.name": b"s",
                    b"GNU.sparse.major": b"1",
                    b"GNU.sparse.minor": b"0",
                    b"GNU.sparse.realsize": b"12",
                },
            )
        ),
    ],
    ids=["gnu", "pax-0.1", "pax-1.0"],
)
def test_sparse_forms(archive: bytes) -> None:
    ((entry, data),) = _read(archive)
    assert entry.name == b"s"
    assert entry.sparse == [(2, 3), (8, 2)]
    assert (entry.logical_size, entry.size, data) == (12, 5, b"abcde")


def test_pax_0_0_repeats_its_keys() -> None:
    body = b"".join(
        b"%d %s\n" % (len(line) + 4, line)
        for line in (
            b"GNU.sparse.size=12",
            b"GNU.sparse.offset=2",
            b"GNU.sparse.numbytes=3",
            b"GNU.sparse.offset=8",
            b"GNU.sparse.numbytes=2",
        )
    )
    ((entry, _),) = _read(tar(member(b"x", b"x", body), member(b"s", data=b"abcde")))
    assert entry.sparse == [(2, 3), (8, 2)]


def test_base_256_numbers() -> None:
    size = b"\x80" + (3).to_bytes(11, "big")
    ((entry, data),) = _read(tar(member(b"a", data=b"abc", size=size)))
    assert (entry.size, data) == (3, b"abc")


def test_an_archive_may_end_without_its_trailer() -> None:
    assert len(_read(member(b"a", data=b"abc"))) == 1
    assert _read(b"") == []


def test_names_of_attributes_that_tar_cannot_carry() -> None:
    with pytest.raises(BadArchive, match="="):
        headers.encode(Entry(b"a", xattrs={b"user.a=b": b"x"}))
