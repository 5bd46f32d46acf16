"""A tar writer with no checks, independent of layertool's codec and of tarfile."""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def member(
    name: bytes,
    kind: bytes = b"0",
    data: bytes = b"",
    *,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int | bytes = 0,
    gid: int = 0,
    mtime: int = 1_000_000,
    size: int | bytes | None = None,
    major: int = 0,
    minor: int = 0,
    xattrs: Mapping[str, bytes] | None = None,
    pax: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """One entry; `size` and `uid` may be raw field bytes. Long names need `pax`."""
    records = dict(pax or {})
    records |= {b"SCHILY.xattr." + key.encode(): value for key, value in (xattrs or {}).items()}
    head = extended(records) if records else b""
    header = _header(
        name, kind, link, mode, uid, gid, mtime, len(data) if size is None else size, major, minor
    )
    return head + header + data + bytes(-len(data) % BLOCK)


def extended(records: Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A PAX header with these records, for the entry that follows."""
    body = b"".join(record(key, value) for key, value in records.items())
    return (
        _header(b"PaxHeader", kind, b"", 0o644, 0, 0, 0, len(body), 0, 0)
        + body
        + bytes(-len(body) % BLOCK)
    )


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record: its length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def directory(name: bytes, mode: int = 0o755, **more: object) -> bytes:
    return member(name, b"5", mode=mode, **more)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return member(name, b"2", link=target, mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    return member(name, b"1", link=target)


def tar(*members: bytes) -> bytes:
    """The members and the end of the archive."""
    return b"".join(members) + END


def gnu_sparse(name: bytes, extents: list[tuple[int, int]], real_size: int, data: bytes) -> bytes:
    """An old GNU sparse entry with up to four extents."""
    header = bytearray(_header(name, b"S", b"", 0o644, 0, 0, 0, len(data), 0, 0))
    header[257:265] = b"ustar  \0"
    header[345:500] = bytes(155)
    for number, (offset, length) in enumerate(extents):
        at = 386 + 24 * number
        header[at : at + 24] = b"%011o\0%011o\0" % (offset, length)
    header[483:495] = b"%011o\0" % real_size
    return _sum(bytes(header)) + data + bytes(-len(data) % BLOCK)


def _header(
    name: bytes,
    kind: bytes,
    link: bytes,
    mode: int,
    uid: int | bytes,
    gid: int,
    mtime: int,
    size: int | bytes,
    major: int,
    minor: int,
) -> bytes:
    fields = (
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        uid if isinstance(uid, bytes) else b"%07o\0" % uid,
        b"%07o\0" % gid,
        size if isinstance(size, bytes) else b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\00000",
        bytes(64),
        b"%07o\0%07o\0" % (major, minor),
        bytes(167),
    )
    return _sum(b"".join(fields))


def _sum(header: bytes) -> bytes:
    assert len(header) == BLOCK
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]
