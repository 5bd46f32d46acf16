"""Archives that attack: every shape of the advisories against others, run for real, as root.

Each archive is unpacked three ways next to a directory of canaries. It must be refused with the
name of the entry, or be harmless; in both cases nothing outside the target changes, and nothing of
a refused layer stays.
"""

from __future__ import annotations

import bz2
import ctypes
import gzip
import io
import lzma
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from archivetest.craft import (
    BLOCK,
    directory,
    extended,
    gnu_sparse,
    hardlink,
    member,
    symlink,
    tar,
)
from archivetest.trees import Seen, look
from backports import zstd

from layertool.archive import Limits, extract_layer
from layertool.archive.limits import DEFAULT_LIMITS
from layertool.cli import main
from layertool.errors import BadArchive

pytestmark = pytest.mark.needs("root")

# Stands for the directory of canaries in the table; replaced by its path, padded or not.
OUTSIDE = b"@OUTSIDE@"


@dataclass(frozen=True)
class Hostile:
    """One archive. `refused` is what the message must name; None: must be harmless."""

    name: str
    build: Callable[[bytes], bytes]
    refused: str | None = None
    after: Callable[[Path], None] | None = None
    """What must hold in the directory of a harmless one."""


def _file(name: bytes, data: bytes = b"pwned") -> bytes:
    return member(name, data=data)


def _is_file(path: str, content: bytes = b"pwned") -> Callable[[Path], None]:
    def check(root: Path) -> None:
        target = root / path
        assert stat.S_ISREG(target.lstat().st_mode)
        assert target.read_bytes() == content

    return check


def _is_directory(path: str) -> Callable[[Path], None]:
    return lambda root: None if stat.S_ISDIR((root / path).lstat().st_mode) else pytest.fail(path)


def _no_whiteout(path: str) -> Callable[[Path], None]:
    def check(root: Path) -> None:
        info = (root / path).lstat()
        assert not (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0)

    return check


def _without_xattr(path: str, *names: str) -> Callable[[Path], None]:
    return lambda root: pytest.fail("kept") if set(os.listxattr(root / path)) & set(names) else None


def _pax_path(path: bytes) -> bytes:
    return member(b"x", data=b"pwned", pax={b"path": path})


def _deep_then_out(outside: bytes) -> bytes:
    """CVE-2025-4517: a way longer than PATH_MAX through short links, then a link out of it."""
    part = b"d" * 247
    members = []
    path = b""
    for letter in b"abcdefghijklmnop":
        short = _join(path, bytes((letter,)))
        members.append(directory(b"d", pax={b"path": _join(path, part)}))
        members.append(member(b"s", b"2", pax={b"path": short, b"linkpath": part}))
        path = short
    up = _join(path, b"l" * 254)
    members.append(member(b"l", b"2", pax={b"path": up, b"linkpath": b"../" * 16}))
    members.append(member(b"e", b"2", pax={b"path": b"out", b"linkpath": up + b"/" + outside}))
    members.append(_file(b"out/pwned"))
    return tar(*members)


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _xz_with_a_huge_dictionary() -> bytes:
    """The decoder would allocate what the header of the first block says (xz-file-format 5.3.1)."""
    data = bytearray(lzma.compress(tar(_file(b"a"))))
    start = 12
    length = 4 * (data[start] + 1)
    at = data.index(b"\x21\x01", start) + 2  # filter LZMA2, one byte of properties
    data[at] = 40
    checksum = zlib.crc32(data[start : start + length - 4])
    data[start + length - 4 : start + length] = checksum.to_bytes(4, "little")
    return bytes(data)


NEGATIVE = b"\xff" * 12
TABLE = [
    # The root itself (CVE-2021-29136)
    Hostile("root-is-a-symlink", lambda out: tar(symlink(b".", out), _file(b"x")), "."),
    Hostile("root-slash-is-a-symlink", lambda out: tar(symlink(b"/", out), _file(b"x")), "/"),
    Hostile("root-is-a-hardlink", lambda out: tar(_file(b"a"), hardlink(b"./", b"a")), "./"),
    # Ways out through symlinks (CVE-2014-6407, -9356)
    Hostile(
        "write-through-absolute-symlink",
        lambda out: tar(symlink(b"evil", out), _file(b"evil/victim")),
        "evil",
    ),
    Hostile(
        "write-through-relative-symlink",
        lambda out: tar(symlink(b"evil", b"../" * 20 + out[1:]), _file(b"evil/victim")),
        "evil",
    ),
    Hostile(
        "write-through-two-symlinks",
        lambda out: tar(symlink(b"a", b".."), symlink(b"b", b"a" + out), _file(b"b/victim")),
        "b",
    ),
    Hostile(
        "overwrite-through-last-component",
        lambda out: tar(symlink(b"evil", out + b"/victim"), _file(b"evil")),
        after=_is_file("evil"),
    ),
    Hostile(
        "directory-over-symlink",
        lambda out: tar(symlink(b"evil", out), directory(b"evil", 0o777), _file(b"evil/victim")),
        after=_is_file("evil/victim"),
    ),
    Hostile(
        "symlink-to-proc-self-root",
        lambda out: tar(
            directory(b"proc"), symlink(b"evil", b"/proc/self/root"), _file(b"evil/victim")
        ),
        "evil",
    ),
    Hostile(
        "parent-link-then-upward-link",  # CVE-2020-27833
        lambda out: tar(
            directory(b"subdir"),
            symlink(b"subdir/parent", b".."),
            symlink(b"subdir/parent/victim", b"../.." + out + b"/victim"),
            _file(b"victim"),
        ),
        after=_is_file("victim"),
    ),
    Hostile(
        "chmod-through-symlink",  # CVE-2021-32760
        lambda out: tar(symlink(b"evil", out + b"/victim"), member(b"evil", b"6", mode=0o4777)),
        after=lambda root: None if stat.S_ISFIFO((root / "evil").lstat().st_mode) else 1 / 0,
    ),
    Hostile(
        "directory-replaced-by-link-before-its-attributes",
        lambda out: tar(directory(b"d", 0o777), symlink(b"d", out), member(b"z", data=b"last")),
        after=lambda root: None if (root / "d").is_symlink() else pytest.fail("no link"),
    ),
    Hostile(
        "symlink-loop",
        lambda out: tar(symlink(b"a", b"b"), symlink(b"b", b"a"), _file(b"a/victim")),
        "a",
    ),
    Hostile("path-longer-than-the-kernel-resolves", _deep_then_out, "out"),
    # Hard links
    Hostile(
        "hardlink-to-absolute",
        lambda out: tar(hardlink(b"evil", out + b"/victim"), _file(b"evil")),
        "evil",
    ),
    Hostile(
        "hardlink-upwards",
        lambda out: tar(hardlink(b"evil", b"../" * 20 + out[1:] + b"/victim")),
        "..",
    ),
    Hostile(
        "hardlink-through-symlink",
        lambda out: tar(symlink(b"d", out), hardlink(b"evil", b"d/victim"), _file(b"evil")),
        "d",
    ),
    Hostile(
        "hardlink-to-a-symlink-then-write",  # CVE-2026-4360's shape
        lambda out: tar(symlink(b"l", out + b"/victim"), hardlink(b"evil", b"l"), _file(b"evil")),
        after=_is_file("evil"),
    ),
    Hostile(
        "hardlink-to-directory", lambda out: tar(directory(b"d"), hardlink(b"evil", b"d")), "evil"
    ),
    Hostile("hardlink-to-itself", lambda out: tar(_file(b"a"), hardlink(b"a", b"./a")), "a"),
    Hostile("hardlink-to-nothing", lambda out: tar(hardlink(b"evil", b"missing")), "missing"),
    Hostile(
        "hardlink-broken-by-a-later-file",
        lambda out: tar(_file(b"a", b"old"), hardlink(b"b", b"a"), _file(b"a", b"new")),
        after=_is_file("b", b"old"),
    ),
    # Names
    Hostile("dotdot", lambda out: tar(_file(b"../victim")), "../victim"),
    Hostile("dotdot-inside", lambda out: tar(_file(b"a/../../victim")), "a/../../victim"),
    Hostile("dotdot-alone", lambda out: tar(directory(b"..", 0o777)), ".."),
    Hostile("dotdot-in-pax", lambda out: tar(_pax_path(b"../../victim")), "../../victim"),
    Hostile(
        "absolute",
        lambda out: tar(directory(b"/e"), _file(b"/e/victim")),
        after=_is_file("e/victim"),
    ),
    Hostile(
        "absolute-outside", lambda out: tar(_pax_path(out + b"/victim")), after=lambda root: None
    ),
    Hostile("dots-and-slashes", lambda out: tar(_file(b"a/./b//c")), after=_is_file("a/b/c")),
    Hostile("nul-in-path", lambda out: tar(_pax_path(b"a\0b")), "a"),
    Hostile(
        "nul-in-symlink", lambda out: tar(member(b"evil", b"2", pax={b"linkpath": b"a\0b"})), "evil"
    ),
    Hostile("empty-symlink", lambda out: tar(symlink(b"evil", b"")), "evil"),
    Hostile("long-component", lambda out: tar(_pax_path(b"n" * 256)), "nnn"),
    Hostile("long-path", lambda out: tar(_pax_path(b"nn/" * 1400 + b"x")), "nn/nn"),
    Hostile(
        "long-symlink",
        lambda out: tar(member(b"evil", b"2", pax={b"linkpath": b"n" * 5000})),
        "evil",
    ),
    # Whiteouts
    Hostile(
        "whiteout-through-symlink",
        lambda out: tar(symlink(b"etc", out), member(b"etc/.wh.victim")),
        "etc",
    ),
    Hostile(
        "opaque-through-symlink",
        lambda out: tar(symlink(b"etc", out), member(b"etc/.wh..wh..opq")),
        "etc",
    ),
    Hostile("whiteout-of-nothing", lambda out: tar(member(b".wh.")), ".wh."),
    Hostile("whiteout-of-dot", lambda out: tar(member(b".wh..")), ".wh.."),
    Hostile("whiteout-of-dotdot", lambda out: tar(member(b".wh...")), ".wh..."),
    Hostile(
        "whiteout-of-dotdot-below",
        lambda out: tar(directory(b"d"), member(b"d/.wh...")),
        "d/.wh...",
    ),
    Hostile("whiteout-as-directory", lambda out: tar(_file(b".wh.d/x")), ".wh.d/x"),
    Hostile(
        "aufs-private-names",
        lambda out: tar(
            directory(b".wh..wh.plnk"), _file(b".wh..wh.plnk/1.2"), member(b".wh..wh.aufs")
        ),
        after=lambda root: None if not any(root.glob(".wh.*")) else pytest.fail("kept"),
    ),
    # What is no directory, as a parent; what blocks, when opened
    Hostile("file-as-parent", lambda out: tar(_file(b"f"), _file(b"f/x")), "f"),
    Hostile(
        "device-as-parent",
        lambda out: tar(member(b"n", b"3", major=1, minor=3), _file(b"n/x")),
        "n",
    ),
    Hostile(
        "fifo-then-file", lambda out: tar(member(b"p", b"6"), _file(b"p")), after=_is_file("p")
    ),
    Hostile(
        "device-then-file",
        lambda out: tar(member(b"n", b"3", major=1, minor=1), _file(b"n")),
        after=_is_file("n"),
    ),
    # Marks of overlays smuggled in
    Hostile("char-0-0", lambda out: tar(member(b"n", b"3")), after=lambda root: None),
    Hostile(
        "overlay-attributes",
        lambda out: tar(
            directory(
                b"d", xattrs={"trusted.overlay.opaque": b"y", "user.overlay.redirect": b"/etc"}
            )
        ),
        after=_without_xattr("d", "trusted.overlay.opaque", "user.overlay.redirect"),
    ),
    Hostile(
        "override-attribute",
        lambda out: tar(member(b"f", xattrs={"user.containers.override_stat": b"0:0:4755"})),
        after=_without_xattr("f", "user.containers.override_stat"),
    ),
    # Lies about sizes and numbers (CVE-2025-8194 and friends)
    Hostile("negative-size", lambda out: tar(member(b"evil", size=NEGATIVE)), "evil"),
    Hostile("huge-size", lambda out: tar(member(b"evil", size=b"\x80" + b"\x7f" * 11)), "evil"),
    Hostile("negative-uid", lambda out: tar(member(b"evil", uid=b"\xff" * 8)), "evil"),
    Hostile("uid-minus-one", lambda out: tar(member(b"evil", pax={b"uid": b"4294967295"})), "evil"),
    Hostile(
        "pax-size-beyond-the-end",
        lambda out: tar(member(b"evil", pax={b"size": b"99999"})),
        "truncated",
    ),
    Hostile(
        "pax-size-is-no-number", lambda out: tar(member(b"evil", pax={b"size": b"-1"})), "evil"
    ),
    Hostile(
        "pax-mtime-is-no-time",
        lambda out: tar(member(b"evil", pax={b"mtime": b"1e999999999"})),
        "evil",
    ),
    Hostile(
        "pax-record-of-a-gigabyte", lambda out: tar(member(b"evil", b"x", size=1 << 30)), "evil"
    ),
    Hostile(
        "pax-record-length-lies",
        lambda out: tar(member(b"evil", b"x", data=b"999 path=x\n"), _file(b"a")),
        "header",
    ),
    Hostile(
        "long-name-of-a-gigabyte", lambda out: tar(member(b"evil", b"L", size=1 << 30)), "evil"
    ),
    Hostile("octal-is-not", lambda out: tar(member(b"evil", size=b"0000000000z\0")), "number"),
    Hostile("unknown-type", lambda out: tar(member(b"evil", b"Z")), "evil"),
    Hostile(
        "global-header-path",
        lambda out: tar(extended({b"path": b"../victim"}, b"g"), _file(b"a")),
        "../victim",
    ),
    # Sparse files
    Hostile(
        "sparse-overlap",
        lambda out: tar(gnu_sparse(b"evil", [(0, 8), (4, 8)], 100, bytes(16))),
        "evil",
    ),
    Hostile(
        "sparse-beyond-its-size",
        lambda out: tar(gnu_sparse(b"evil", [(0, 8), (96, 8)], 100, bytes(16))),
        "evil",
    ),
    Hostile(
        "sparse-more-than-stored",
        lambda out: tar(gnu_sparse(b"evil", [(0, 99)], 100, bytes(16))),
        "evil",
    ),
    Hostile(
        "sparse-of-an-exabyte",
        lambda out: tar(
            member(b"evil", pax={b"GNU.sparse.map": b"", b"GNU.sparse.size": b"%d" % (1 << 60)})
        ),
        "evil",
    ),
    Hostile(
        "sparse-map-is-garbage",
        lambda out: tar(
            member(
                b"evil",
                data=b"x" * BLOCK,
                pax={
                    b"GNU.sparse.major": b"1",
                    b"GNU.sparse.minor": b"0",
                    b"GNU.sparse.realsize": b"9",
                },
            )
        ),
        "evil",
    ),
    # No tar at all, or half of one
    Hostile("garbage", lambda out: b"no tar " * 200, "no tar"),
    Hostile("nothing", lambda out: b"", after=lambda root: None),
    Hostile("nothing-in-gzip", lambda out: gzip.compress(b""), after=lambda root: None),
    Hostile("truncated-data", lambda out: member(b"evil", data=b"x" * 5000)[:2000], "truncated"),
    Hostile("truncated-header", lambda out: tar(_file(b"a"))[:600] + b"x" * 100, "truncated"),
    Hostile("flipped-header", lambda out: tar(b"X" + member(b"evil")[1:]), "checksum"),
    # Compression
    Hostile("truncated-gzip", lambda out: gzip.compress(tar(_file(b"a")))[:-9], "truncated"),
    Hostile(
        "gzip-then-garbage", lambda out: gzip.compress(tar(_file(b"a"))) + b"<html>" * 9, "garbage"
    ),
    Hostile(
        "many-empty-gzip-members",
        lambda out: gzip.compress(b"") * 5000 + gzip.compress(tar(_file(b"a"))),
        after=_is_file("a"),
    ),
    Hostile(
        "zstd-window-of-2-gib",
        lambda out: bytes.fromhex("28b52ffd00a8") + b"\x01\x00\x00" + bytes(100),
        "zstd",
    ),
    Hostile("xz-dictionary-of-4-gib", lambda out: _xz_with_a_huge_dictionary(), "xz"),
    Hostile(
        "flipped-gzip-checksum", lambda out: gzip.compress(tar(_file(b"a")))[:-8] + bytes(8), "gzip"
    ),
]


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("canary")
    (outside / "victim").chmod(0o600)
    (outside / "directory").mkdir()
    (outside / "directory" / "inner").write_text("canary")
    return outside


@pytest.mark.parametrize("mode", ["kernel", "aufs", "apply"])
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_hostile_archive(
    case: Hostile, mode: str, tmp_path: Path, canaries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "layer.tar"
    archive.write_bytes(case.build(os.fsencode(canaries)))
    before = _outside(tmp_path)
    target = tmp_path / "target"
    arguments = ["--apply"] if mode == "apply" else ["--format", mode]
    if mode == "apply":
        # The root file system of an image, itself hostile.
        target.mkdir()
        (target / "old").symlink_to(canaries)

    status = main(["unpack", *arguments, str(archive), str(target)])

    message = capsys.readouterr().err
    assert _outside(tmp_path) == before
    if case.refused is not None:
        assert status == 1, "must be refused"
        assert case.refused in message
        assert message.startswith("layertool: ") and message.count("\n") == 1
        assert mode == "apply" or not target.exists()
    else:
        assert status == 0, message
        assert case.after is not None
        case.after(target)


def _outside(tmp_path: Path) -> dict[bytes, Seen]:
    return look(tmp_path, without=b"target")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("through-a-link-of-the-rootfs", tar(_file(b"old/victim"))),
        ("whiteout-through-a-link-of-the-rootfs", tar(member(b"old/.wh.victim"))),
        ("opaque-through-a-link-of-the-rootfs", tar(member(b"old/.wh..wh..opq"))),
        ("hardlink-through-a-link-of-the-rootfs", tar(hardlink(b"evil", b"old/victim"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_links_that_lower_layers_left_are_not_followed_out(
    name: str, data: bytes, tmp_path: Path, canaries: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").symlink_to(canaries)
    before = _outside(tmp_path)
    with pytest.raises(BadArchive, match="old"):
        _extract(data, target, "apply")
    assert _outside(tmp_path) == before


def test_a_directory_swapped_for_a_link_meanwhile(tmp_path: Path, canaries: Path) -> None:
    """CVE-2025-47290, -2018-15664: somebody in the root file system swaps it between two calls."""
    target = tmp_path / "target"
    (target / "d").mkdir(parents=True)
    (target / "evil").symlink_to(canaries)
    before = _outside(tmp_path)
    layer = tar(
        member(b"d/victim", data=b"pwned"),
        directory(b"d/directory", 0o777),
        member(b"d/directory/inner", data=b"pwned"),
        member(b"d/.wh.directory"),
        member(b"d/.wh.victim"),
    )
    stop = threading.Event()
    thread = threading.Thread(target=_swap, args=(target / "d", target / "evil", stop))
    thread.start()
    done: dict[bool, int] = {True: 0, False: 0}
    deadline = time.monotonic() + 20
    try:
        while (sum(done.values()) < 300 or not all(done.values())) and time.monotonic() < deadline:
            try:
                _extract(layer, target, "apply")
                done[True] += 1
            except (BadArchive, OSError):
                done[False] += 1
    finally:
        stop.set()
        thread.join()
    assert _outside(tmp_path) == before
    assert all(done.values()), "the swaps never hit, or always"


def _swap(one: Path, other: Path, stop: threading.Event) -> None:
    """Exchange two names, each time in one step (renameat2(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    while not stop.is_set():
        libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_no_program_is_run_to_decompress(
    compress: Callable[[bytes], bytes],
    tmp_path: Path,
    canaries: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CVE-2014-9357, GHSA-x86f-5xw2-fm2r: it could be the image's own."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name in ("gzip", "unpigz", "pigz", "bzip2", "xz", "unxz", "zstd", "tar"):
        (bin_directory / name).write_text(f"#!/bin/sh\ntouch {canaries}/run\n")
        (bin_directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_directory))
    (tmp_path / "target").mkdir()
    _extract(compress(tar(_file(b"a"))), tmp_path / "target", "kernel")
    assert (tmp_path / "target/a").read_bytes() == b"pwned"
    assert not (canaries / "run").exists()


@pytest.mark.parametrize("mode", ["kernel", "aufs"])
def test_char_0_0_of_an_image_deletes_nothing(mode: str, tmp_path: Path) -> None:
    _extract(tar(member(b"n", b"3", mode=0o666)), tmp_path, mode)
    info = (tmp_path / "n").lstat()
    assert stat.S_ISREG(info.st_mode)


def test_an_attribute_of_a_nested_overlay_is_kept_escaped(tmp_path: Path) -> None:
    _extract(tar(directory(b"d", xattrs={"trusted.overlay.opaque": b"y"})), tmp_path, "kernel")
    assert os.getxattr(tmp_path / "d", "trusted.overlay.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    ("limits", "data", "message"),
    [
        (Limits(entries=10), tar(*(member(b"%d" % n) for n in range(11))), "more than 10 entries"),
        (Limits(bytes=9000), tar(_file(b"big", bytes(10_000))), "more than 9000 bytes"),
        (
            Limits(bytes=9000),
            tar(member(b"hole", pax={b"GNU.sparse.map": b"", b"GNU.sparse.size": b"9001"})),
            "hole",
        ),
        (
            Limits(ratio=10, ratio_floor=1 << 16),
            gzip.compress(tar(_file(b"bomb", bytes(1 << 20)))),
            "bomb",
        ),
        (Limits(path=10), tar(_file(b"a/bb/ccc/dddd")), "a/bb/ccc/dddd"),
        (
            Limits(pax_record=1000),
            tar(member(b"f", xattrs={"user.big": bytes(1000)})),
            "extended header",
        ),
    ],
)
def test_limits(limits: Limits, data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=message):
        _extract(data, tmp_path, "kernel", limits)


def _extract(data: bytes, target: Path, mode: str, limits: Limits = DEFAULT_LIMITS) -> None:
    fd = os.open(target, os.O_RDONLY)
    try:
        extract_layer(io.BytesIO(data), fd, format=mode, limits=limits)  # type: ignore[arg-type]
    finally:
        os.close(fd)
