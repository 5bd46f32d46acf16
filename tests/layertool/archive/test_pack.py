"""Packing: what an upper means, what a layer cannot hold, the same bytes every time."""

import hashlib
import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layertool.archive import (
    Compression,
    Packed,
    open_decompressor,
    pack_layer,
)
from layertool.errors import Unsupported

pytestmark = pytest.mark.needs("root")


@pytest.fixture(autouse=True)
def _ordinary_root(tmp_path: Path) -> None:
    """pytest's own 0700 would be an attribute of the root worth an entry."""
    tmp_path.chmod(0o755)


def pack(root: Path, **options: Any) -> tuple[Packed, tarfile.TarFile]:
    out = io.BytesIO()
    options.setdefault("compression", Compression.NONE)
    fd = os.open(root, os.O_RDONLY)
    try:
        done = pack_layer(fd, out, **options)
    finally:
        os.close(fd)
    assert done.digest.hex == hashlib.sha256(out.getvalue()).hexdigest()
    assert done.size == len(out.getvalue())
    plain = open_decompressor(io.BytesIO(out.getvalue())).read()
    assert done.diff_id.hex == hashlib.sha256(plain).hexdigest()
    return done, tarfile.open(fileobj=io.BytesIO(plain))


def _names(archive: tarfile.TarFile) -> list[str]:
    return [info.name for info in archive]


def _whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def _kernel(root: Path) -> None:
    (root / "d/o").mkdir(parents=True)
    (root / "d/f").write_text("x")
    _whiteout(root / "d/gone")
    _whiteout(root / "zz")
    _whiteout(root / "d/o/inside")
    os.setxattr(root / "d/o", "trusted.overlay.opaque", b"y")
    os.setxattr(root / "d", "trusted.overlay.origin", b"")
    os.setxattr(root / "d", "trusted.overlay.impure", b"y")


def _rootless_kernel(root: Path) -> None:
    _kernel(root)
    os.removexattr(root / "d/o", "trusted.overlay.opaque")
    os.setxattr(root / "d/o", "user.overlay.opaque", b"y")


def _fuse_overlayfs(root: Path) -> None:
    _kernel(root)
    os.removexattr(root / "d/o", "trusted.overlay.opaque")
    os.setxattr(root / "d/o", "user.fuseoverlayfs.opaque", b"y")
    _whiteout(root / "d/o/.wh..opq")
    (root / "d/o/.wh..wh..opq").touch()


def _aufs(root: Path) -> None:
    (root / "d/o").mkdir(parents=True)
    (root / "d/f").write_text("x")
    for name in ("d/.wh.gone", ".wh.zz", "d/o/.wh.inside", "d/o/.wh..wh..opq", ".wh..wh.aufs"):
        (root / name).touch()
    (root / ".wh..wh.plnk").mkdir()


def _xattr_whiteouts(root: Path) -> None:
    _kernel(root)
    (root / "d/gone").unlink()
    (root / "d/gone").touch()
    os.setxattr(root / "d/gone", "trusted.overlay.whiteout", b"")
    os.setxattr(root / "d", "trusted.overlay.opaque", b"x")


@pytest.mark.parametrize(
    "make", [_kernel, _rootless_kernel, _fuse_overlayfs, _aufs, _xattr_whiteouts]
)
def test_every_format_packs_to_oci_whiteouts(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    done, archive = pack(tmp_path)
    assert sorted(_names(archive)) == sorted(
        [".wh.zz", "d", "d/.wh.gone", "d/f", "d/o", "d/o/.wh..wh..opq"]
    )
    assert done.entries == 6 and done.bytes == 1
    for info in archive:
        assert not info.pax_headers
        assert ".wh." not in info.name or (info.isreg() and info.size == info.mtime == 0)


def test_order(tmp_path: Path) -> None:
    """Parents before children, deletions before siblings, the rest bytewise."""
    for name in ("b", "a.txt", "a", "-"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/z").touch()
    _whiteout(tmp_path / "y")
    _, archive = pack(tmp_path)
    assert _names(archive) == [".wh.y", "-", "a", "a/z", "a.txt", "b"]


def _tree(root: Path, names: list[str]) -> None:
    root.mkdir()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for path in (root, *root.rglob("*")):
        os.utime(path, (1_700_000_000.75, 1_700_000_000.75))


def test_reproducible_in_any_order_of_creation(tmp_path: Path) -> None:
    names = [f"{letter}/{number}" for letter in "abc" for number in range(40)]
    _tree(tmp_path / "one", names)
    _tree(tmp_path / "two", names[::-1])
    for compression in (Compression.NONE, Compression.GZIP, Compression.ZSTD):
        one, archive = pack(tmp_path / "one", compression=compression)
        two, _ = pack(tmp_path / "two", compression=compression)
        assert one == two
        assert {info.mtime for info in archive} == {1_700_000_000}
        assert {(info.uname, info.gname) for info in archive} == {("", "")}


def test_epoch_only_lowers_times(tmp_path: Path) -> None:
    for name, time in (("old", 1000), ("new", 2_000_000_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    _, archive = pack(tmp_path, epoch=1_500_000_000)
    assert {info.name: info.mtime for info in archive} == {"old": 1000, "new": 1_500_000_000}


def test_a_tree_without_marks_packs_the_same_either_way(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/f").write_text("x")
    os.setxattr(tmp_path / "d/f", "user.x", b"1")
    assert pack(tmp_path)[0] == pack(tmp_path, whole_tree=True)[0]


def test_whole_trees_have_no_marks(tmp_path: Path) -> None:
    _whiteout(tmp_path / "device")
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "trusted.overlay.opaque", b"y")
    _, archive = pack(tmp_path, whole_tree=True)
    assert _names(archive) == ["d", "device"]
    assert archive.getmember("device").ischr()


def test_the_root_has_an_entry_when_it_differs(tmp_path: Path) -> None:
    assert _names(pack(tmp_path)[1]) == []
    tmp_path.chmod(0o700)
    _, archive = pack(tmp_path)
    assert [(info.name, info.mode) for info in archive] == [(".", 0o700)]


def test_what_a_layer_carries(tmp_path: Path) -> None:
    long = "n" * 120
    (tmp_path / "f").write_bytes(b"data")
    os.setxattr(tmp_path / "f", "user.bin", b"\0\n=\xff")
    os.chown(tmp_path / "f", 3_000_000, 4_000_000_000)
    (tmp_path / "f").chmod(0o4711)
    os.link(tmp_path / "f", tmp_path / "g")
    (tmp_path / long).symlink_to("t" * 200)
    os.mkfifo(tmp_path / "p", 0o620)
    os.mknod(tmp_path / "n", stat.S_IFBLK | 0o640, os.makedev(8, 17))
    done, archive = pack(tmp_path)
    file = archive.getmember("f")
    assert (file.uid, file.gid, file.mode) == (3_000_000, 4_000_000_000, 0o4711)
    xattr = file.pax_headers["SCHILY.xattr.user.bin"].encode("utf-8", "surrogateescape")
    assert xattr == b"\0\n=\xff"
    assert (archive.getmember("g").islnk(), archive.getmember("g").linkname) == (True, "f")
    assert archive.getmember(long).linkname == "t" * 200
    assert archive.getmember("p").isfifo()
    device = archive.getmember("n")
    assert (device.isblk(), device.devmajor, device.devminor) == (True, 8, 17)
    assert (done.entries, done.bytes) == (5, 4)


def test_attributes_of_the_overlay_stay_behind_those_of_the_image_go(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for name in (
        "trusted.overlay.origin",
        "user.overlay.origin",
        "user.fuseoverlayfs.origin",
        "trusted.overlay.overlay.opaque",
        "user.overlay.overlay.overlay.x",
        "user.kept",
    ):
        os.setxattr(tmp_path / "f", name, b"v")
    (info,) = pack(tmp_path)[1]
    assert sorted(key.removeprefix("SCHILY.xattr.") for key in info.pax_headers) == [
        "trusted.overlay.opaque",
        "user.kept",
        "user.overlay.overlay.x",
    ]


def test_remembered_owners_are_restored(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "null").touch()
    os.setxattr(tmp_path / "f", "user.containers.override_stat", b"33:44:04750:file")
    os.setxattr(tmp_path / "null", "user.containers.override_stat", b"0:6:0666:char-1-3")
    _, archive = pack(tmp_path)
    file, null = archive.getmember("f"), archive.getmember("null")
    assert (file.uid, file.gid, file.mode, file.isreg()) == (33, 44, 0o4750, True)
    assert (null.ischr(), null.devmajor, null.devminor, null.gid) == (True, 1, 3, 6)
    assert not file.pax_headers


@pytest.mark.parametrize("value", [b"", b"x:y:z", b"1:2", b"1:2:9", b"1:2:644:door"])
def test_nonsense_in_place_of_an_owner_is_ignored(value: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").touch(mode=0o644)
    os.setxattr(tmp_path / "f", "user.containers.override_stat", value)
    (info,) = pack(tmp_path)[1]
    assert (info.uid, info.mode) == (0, 0o644)


def test_sockets_are_left_out_and_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        done, archive = pack(tmp_path)
    assert _names(archive) == []
    assert len(done.warnings) == 1 and "s: is a socket" in done.warnings[0]


def _redirect(root: Path) -> None:
    (root / "bad").mkdir()
    os.setxattr(root / "bad", "trusted.overlay.redirect", b"old")


def _metacopy(root: Path) -> None:
    (root / "bad").touch()
    os.setxattr(root / "bad", "trusted.overlay.metacopy", b"")


@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (_redirect, False),
        (_metacopy, False),
        (lambda root: (root / ".wh.bad").write_text("full"), False),
        (lambda root: (root / ".wh.bad").mkdir(), False),
        (lambda root: (root / ".wh.bad").touch(), True),
    ],
)
def test_what_a_layer_cannot_express_is_refused(
    make: Callable[[Path], None], whole: bool, tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(Unsupported, match="bad"):
        pack(tmp_path, whole_tree=whole)


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(5 << 20))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="space"):
            pack_layer(fd, full)  # type: ignore[arg-type]
    finally:
        os.close(fd)
