"""What a process in the mount must see: the semantics that users of a union rely on.

Where a rule is the kernel's, the same test runs on kernel overlayfs too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fstest import layers, trees
from fstest.drivers import Mounted
from fstest.layers import Directory, Fifo, File, HardLink, Symlink, Whiteout

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]
both = pytest.mark.parametrize("driver", ["unionfs", "kernel"], indirect=True)


def raw_upper(mounted: Mounted) -> Path:
    assert mounted.stack.upper is not None
    return mounted.stack.upper


def errno_of(call: Callable[[], object]) -> int:
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno is not None
    return caught.value.errno


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own (2 MiB)."""
    place = tmp_path / "tmpfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def as_user(directory: Path, code: str) -> None:
    """Run Python as user and group 1234, in a directory that root has entered for it."""
    start = (
        "import os,sys; os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(1234); os.setuid(1234);"
    )
    subprocess.run(["/usr/bin/python3", "-c", start + code, str(directory)], check=True)


# --- whiteouts and opaque directories ---


@both
def test_deleting_leaves_a_whiteout_and_no_litter(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"a": "x", "d/e": "y"})])
    (m / "a").unlink()
    (m / "d/e").unlink()
    (m / "d").rmdir()
    found = sorted(path.name for path in raw_upper(m).rglob("*"))
    assert found == ["a", "d"]
    for name in found:
        info = (raw_upper(m) / name).lstat()
        assert stat.S_ISCHR(info.st_mode)
        assert info.st_rdev == 0


@both
def test_no_whiteout_for_what_only_the_upper_has(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d/a": "x"})])
    (m / "d/new").touch()
    (m / "d/new").rename(m / "d/other")
    (m / "d/other").unlink()
    (m / "fresh").mkdir()
    (m / "fresh").rmdir()
    assert [path.name for path in raw_upper(m).rglob("*")] == ["d"]


@both
def test_a_directory_over_a_whiteout_is_empty_and_stays_so(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d/old": "x"})])
    (m / "d/old").unlink()
    (m / "d").rmdir()
    (m / "d").mkdir()
    assert os.listdir(m / "d") == []
    assert os.getxattr(raw_upper(m) / "d", "trusted.overlay.opaque") == b"y"
    m.remount()
    assert os.listdir(m / "d") == []


@both
def test_a_file_over_a_whiteout(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"a": "old"})])
    (m / "a").unlink()
    assert not (m / "a").exists()
    (m / "a").write_text("new")
    m.remount()
    assert (m / "a").read_text() == "new"


def test_mknod_of_a_whiteout_is_refused(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {})])
    assert errno_of(lambda: os.mknod(m / "w", stat.S_IFCHR, 0)) == errno.EPERM


def test_names_of_255_bytes(mount: Mount, make_layer: Make) -> None:
    name = "n" * 255
    m = mount([make_layer("base", {name: "x"})])
    (m / name).unlink()
    (m / name).mkdir()
    assert os.listdir(m) == [name]
    assert errno_of(lambda: os.stat(m / ("n" * 256))) == errno.ENAMETOOLONG
    assert os.statvfs(m).f_namemax == 255


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"new\nline", b"\xc3\xa9", b" ", b"-rf", b"a,b:c\\d"]
)
def test_any_name_goes_up_and_away(mount: Mount, make_layer: Make, name: bytes) -> None:
    m = mount([make_layer("base", {name: "x"})])
    path = os.path.join(os.fsencode(m), name)
    os.chmod(path, 0o600)
    assert os.listdir(os.fsencode(raw_upper(m))) == [name]
    os.unlink(path)
    assert os.listdir(os.fsencode(m)) == []


# --- formats of others ---


@pytest.mark.parametrize("family", ["trusted", "user", "fuseoverlayfs"])
def test_opaque_marks_of_every_family(mount: Mount, make_layer: Make, family: str) -> None:
    mark = "user.fuseoverlayfs.opaque" if family == "fuseoverlayfs" else f"{family}.overlay.opaque"
    top = make_layer("top", {"d": Directory(xattrs={mark: b"y"}), "d/new": "x"})
    m = mount([top, make_layer("base", {"d/old": "y"})], upper=False)
    assert os.listdir(m / "d") == ["new"]
    assert os.listxattr(m / "d") == []


def test_aufs_names_are_read_and_can_be_switched_off(mount: Mount, make_layer: Make) -> None:
    top = make_layer("top", {".wh.gone": "", "d/.wh..wh..opq": "", "d/new": "x"})
    base = make_layer("base", {"gone": "y", "d/old": "z", "stays": ""})
    m = mount([top, base], upper=False)
    assert sorted(os.listdir(m)) == ["d", "stays"]
    assert os.listdir(m / "d") == ["new"]
    plain = mount([top, base], upper=False, options=["aufs=off"])
    assert sorted(os.listdir(plain)) == [".wh.gone", "d", "gone", "stays"]
    assert sorted(os.listdir(plain / "d")) == [".wh..wh..opq", "new", "old"]


def test_metadata_only_files_never_read_as_zeros(mount: Mount, make_layer: Make) -> None:
    def lower(mount_driver: str, table: layers.Table) -> Path:
        return make_layer(mount_driver, table)

    base = lower("base", {"file": File(b"content", mode=0o644)})
    top = lower("top", {"file": File(b"", mode=0o600), "lost": b""})
    for name in ("file", "lost"):
        os.truncate(top / name, 7)
        os.setxattr(top / name, "trusted.overlay.metacopy", b"")
    m = mount([top, base])
    assert (m / "file").read_bytes() == b"content"
    assert stat.S_IMODE((m / "file").stat().st_mode) == 0o600
    assert errno_of((m / "lost").read_bytes) == errno.EIO
    with open(m / "file", "ab") as file:
        file.write(b"!")
    m.remount()
    assert (m / "file").read_bytes() == b"content!"


def test_a_second_union_can_be_stacked_on_ours(
    mount: Mount, make_layer: Make, tmp_path: Path
) -> None:
    outer = mount([make_layer("base", {"low/d/old": "x", "up": Directory(), "work": Directory()})])
    for mark in ("trusted.overlay.opaque", "user.overlay.opaque"):
        os.setxattr(outer / "up", mark, b"y")
        assert os.getxattr(outer / "up", mark) == b"y"
        assert mark in os.listxattr(outer / "up")
        os.removexattr(outer / "up", mark)
    inner = mount([outer / "low"], upper=tmp_path / "inner-upper")
    (inner / "d/old").unlink()
    (inner / "d").rmdir()
    (inner / "d").mkdir()
    assert os.listdir(inner / "d") == []


@pytest.mark.needs("overlay")
def test_kernel_overlayfs_can_use_our_mount_as_its_upper(
    mount: Mount, make_layer: Make, tmp_path: Path
) -> None:
    outer = mount([make_layer("base", {})])
    for name in ("up", "work"):
        (outer / name).mkdir()
    low = make_layer("low", {"a": "1", "b": "2", "d/x": "3", "e": "4"})
    point = tmp_path / "inner"
    point.mkdir()
    options = f"lowerdir={low},upperdir={outer.point}/up,workdir={outer.point}/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(point)]
    for _ in range(2):
        subprocess.run(command, check=True)
        try:
            if (point / "a").exists():
                (point / "a").unlink()
                (point / "b").rename(point / "c")
                (point / "d/x").unlink()
                (point / "d").rmdir()
                (point / "d").mkdir()
                with open(point / "e", "a") as file:
                    file.write("5")
            assert sorted(os.listdir(point)) == ["c", "d", "e"]
            assert os.listdir(point / "d") == []
            assert (point / "c").read_text() == "2"
            assert (point / "e").read_text() == "45"
        finally:
            subprocess.run(["umount", str(point)], check=True)
    assert stat.S_ISCHR((outer / "up/a").lstat().st_mode)
    outer.remount()
    assert stat.S_ISCHR((outer / "up/a").lstat().st_mode)


# --- directories ---


@both
def test_setgid_and_group_are_inherited(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d": Directory(mode=0o2775, gid=50)})])
    (m / "d/sub").mkdir()
    (m / "d/file").touch()
    assert stat.S_IMODE((m / "d").stat().st_mode) == 0o2775
    sub = (m / "d/sub").stat()
    assert sub.st_mode & stat.S_ISGID
    assert sub.st_gid == (m / "d/file").stat().st_gid == 50


@both
def test_a_default_acl_replaces_the_umask(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"d": Directory(), "d/gone": "", "d/gonedir": Directory()})
    entries = (
        (1, 7, 0xFFFFFFFF),
        (2, 6, 1000),
        (4, 7, 0xFFFFFFFF),
        (16, 7, 0xFFFFFFFF),
        (32, 4, 0xFFFFFFFF),
    )
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(base / "d", "system.posix_acl_default", acl)
    m = mount([base])
    (m / "d/gone").unlink()
    (m / "d/gonedir").rmdir()
    old = os.umask(0o077)
    try:
        for name in ("new", "gone"):  # the second goes over a whiteout, through the work directory
            os.close(os.open(m / "d" / name, os.O_CREAT | os.O_WRONLY, 0o666))
        for name in ("newdir", "gonedir"):
            os.mkdir(m / "d" / name, 0o777)
        os.close(os.open(m / "plain", os.O_CREAT | os.O_WRONLY, 0o666))
    finally:
        os.umask(old)
    for name in ("new", "gone"):
        assert stat.S_IMODE((m / "d" / name).stat().st_mode) == 0o664, name
        assert "system.posix_acl_access" in os.listxattr(m / "d" / name)
    for name in ("newdir", "gonedir"):
        assert stat.S_IMODE((m / "d" / name).stat().st_mode) == 0o774, name
        assert os.getxattr(m / "d" / name, "system.posix_acl_default") == acl
    assert stat.S_IMODE((m / "plain").stat().st_mode) == 0o600


@both
def test_a_childs_copy_up_does_not_touch_its_parents_times(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d/a": "x", "d": Directory(mtime_ns=10**18)})])
    (m / "d/a").chmod(0o600)
    assert (m / "d").stat().st_mtime_ns == 10**18
    m.remount()
    assert (m / "d").stat().st_mtime_ns == 10**18
    (m / "d/new").touch()
    assert (m / "d").stat().st_mtime_ns > 10**18


def test_renaming_a_merged_directory(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("top", {"d/t": "1"}), make_layer("base", {"d/b": "2", "e": Directory()})])
    (m / "d").rename(m / "e/moved")
    (m / "e/moved/new").touch()
    for _ in range(2):
        assert sorted(os.listdir(m / "e/moved")) == ["b", "new", "t"]
        assert not (m / "d").exists()
        m.remount()


def test_redirect_dir_off_gives_exdev_which_mv_copes_with(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d/a": "x"})], options=["redirect_dir=off"])
    assert errno_of(lambda: os.rename(m / "d", m / "e")) == errno.EXDEV
    subprocess.run(["mv", str(m / "d"), str(m / "e")], check=True)
    assert (m / "e/a").read_text() == "x"
    assert not (m / "d").exists()


def test_userxattr_renames_by_copying_the_subtree_up(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d/a": "x", "d/s/b": "y"})], options=["userxattr"])
    (m / "d").rename(m / "e")
    assert (raw_upper(m) / "e/s/b").read_text() == "y"
    assert os.getxattr(raw_upper(m) / "e", "user.overlay.opaque") == b"y"
    assert not any("redirect" in name for name in os.listxattr(raw_upper(m) / "e"))


# --- copy-up ---


@both
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "symlink"])
def test_copy_up_keeps_the_type(mount: Mount, make_layer: Make, kind: str) -> None:
    base = make_layer("base", {"fifo": Fifo(), "symlink": Symlink("target")})
    os.mknod(base / "socket", stat.S_IFSOCK | 0o644)
    os.mknod(base / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    before = (base / kind).lstat()
    m = mount([base])
    os.chown(m / kind, 7, 8, follow_symlinks=False)
    after = (raw_upper(m) / kind).lstat()
    assert stat.S_IFMT(after.st_mode) == stat.S_IFMT(before.st_mode)
    assert (after.st_rdev, after.st_uid, after.st_gid) == (before.st_rdev, 7, 8)


@both
def test_copy_up_keeps_everything(mount: Mount, make_layer: Make) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    xattrs = {"user.a": b"1", "security.capability": capability, "trusted.t": b"2"}
    base = make_layer("base", {"f": File(b"data", mode=0o4711, uid=3, gid=4)})
    for name, value in xattrs.items():
        os.setxattr(base / "f", name, value)
    os.utime(base / "f", ns=(10**18 + 1, 10**18 + 2))
    m = mount([base])
    os.setxattr(m / "f", "user.b", b"3")
    found = (raw_upper(m) / "f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4711, 3, 4)
    assert found.st_mtime_ns == 10**18 + 2
    shown = {name: os.getxattr(m / "f", name) for name in os.listxattr(m / "f")}
    assert shown == {**xattrs, "user.b": b"3"}


@both
def test_reading_and_asking_copy_nothing_up(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x", "d/g": "y", "s": Symlink("f")})])
    (m / "f").read_text()
    os.access(m / "f", os.W_OK)
    os.listdir(m / "d")
    os.readlink(m / "s")
    os.listxattr(m / "f")
    assert os.listdir(raw_upper(m)) == []


def test_lower_access_times_stay(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"f": "x", "d/g": "y", "s": Symlink("f")})
    for name in ("f", "d/g", "d", "s", "."):
        os.utime(base / name, ns=(10**18, 2 * 10**18), follow_symlinks=False)  # older than mtime
    m = mount([base])
    (m / "f").read_text()
    os.listdir(m / "d")
    os.readlink(m / "s")
    (m / "d/g").chmod(0o600)
    (m / "f").unlink()
    for name in ("f", "d/g", "d", "s", "."):
        assert (base / name).lstat().st_atime_ns == 10**18, name


def test_sparse_files_stay_sparse(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"f": b""})
    with open(base / "f", "r+b") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    m = mount([base])
    (m / "f").chmod(0o600)
    copy = raw_upper(m) / "f"
    assert copy.stat().st_size == 64 << 20
    assert copy.stat().st_blocks <= 16
    assert trees.snapshot(base)[b"f"].content == trees.snapshot(raw_upper(m))[b"f"].content


def test_truncating_copies_no_more_than_needed(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"f": os.urandom(8 << 20), "g": os.urandom(8 << 20)})
    m = mount([base])
    os.truncate(m / "f", 5)
    assert (m / "f").read_bytes() == (base / "f").read_bytes()[:5]
    with open(m / "g", "wb") as file:
        file.write(b"short")
    assert (m / "g").read_bytes() == b"short"


@both
def test_a_large_file_goes_up_whole(mount: Mount, make_layer: Make) -> None:
    data = os.urandom(24 << 20)
    m = mount([make_layer("base", {"f": data})])
    with open(m / "f", "ab") as file:
        file.write(b"end")
    assert (m / "f").read_bytes() == data + b"end"


@both
def test_a_writer_without_privilege_clears_setuid(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": File(b"x", mode=0o6777)})])
    as_user(m.point, "open('f', 'ab').write(b'y')")
    assert stat.S_IMODE((m / "f").stat().st_mode) == 0o777


@both
def test_truncating_by_open_clears_setuid(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": File(b"x", mode=0o6777), "r": File(b"x", mode=0o6777)})])
    as_user(m.point, "open('f', 'w').close()")
    open(m / "r", "w").close()  # root keeps it
    assert stat.S_IMODE((m / "f").stat().st_mode) == 0o777
    assert stat.S_IMODE((m / "r").stat().st_mode) == 0o6777


@pytest.mark.parametrize("writeback", [0, 1])
def test_the_upper_has_the_times_that_the_mount_shows(
    mount: Mount, make_layer: Make, writeback: int
) -> None:
    m = mount([make_layer("base", {"old": "x"})], options=[f"writeback={writeback}"])
    for number in range(200):
        (m / f"f{number}").write_text("written at once")
    with open(m / "old", "a") as file:
        file.write("more")
    shown = {path.name: path.stat().st_mtime_ns for path in m.point.iterdir()}
    m.remount()
    assert {path.name: path.stat().st_mtime_ns for path in m.point.iterdir()} == shown


# --- identity ---


@both
def test_inode_numbers_survive_copy_up_and_remount(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x", "d/g": "y"})])
    names = ("f", "d", "d/g")
    before = [(m / name).stat().st_ino for name in names]
    (m / "f").chmod(0o600)
    (m / "d/g").chmod(0o600)
    assert [(m / name).stat().st_ino for name in names] == before
    m.remount()
    assert [(m / name).stat().st_ino for name in names] == before


def test_a_renamed_copy_keeps_its_number_over_a_remount(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x"})])
    before = (m / "f").stat().st_ino
    (m / "f").rename(m / "g")
    m.remount()
    assert (m / "g").stat().st_ino == before


@both
def test_readdir_and_stat_agree_on_numbers(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {f"d/{n}": "x" for n in range(50)})])
    for n in range(0, 50, 3):
        (m / f"d/{n}").chmod(0o600)
    with os.scandir(m / "d") as items:
        listed = {item.name: item.inode() for item in items}
    assert listed == {name: (m / "d" / name).stat().st_ino for name in listed}


def test_layers_on_two_file_systems_never_collide(
    mount: Mount, make_layer: Make, tmpfs: Path
) -> None:
    for n in range(200):
        (tmpfs / f"r{n}").touch()
    m = mount([tmpfs, make_layer("base", {f"b{n}": "" for n in range(200)})])
    before = {path.name: path.stat().st_ino for path in m.point.iterdir()}
    assert len(set(before.values())) == 400
    for name in ("r5", "b5"):
        (m / name).chmod(0o600)
    for _ in range(2):
        assert {path.name: path.stat().st_ino for path in m.point.iterdir()} == before
        m.remount()
    m.unmount()


def test_hard_links_stay_links_after_a_remount(mount: Mount, make_layer: Make) -> None:
    """fuse-overlayfs serves the lower's bytes with the upper's size here: wrong data, no error."""
    base = make_layer("base", {"h1": "A\n", "h2": HardLink("h1"), "d/h3": HardLink("h1")})
    m = mount([base])
    with open(m / "h1", "a") as file:
        file.write("B\n")
    for _ in range(2):
        assert [(m / name).read_text() for name in ("h1", "h2", "d/h3")] == ["A\nB\n"] * 3
        assert len({(m / name).stat().st_ino for name in ("h1", "h2", "d/h3")}) == 1
        assert (m / "h2").stat().st_nlink == 3
        assert (m / "h1").stat().st_ino == (base / "h1").stat().st_ino
        m.remount()
    (m / "h2").unlink()
    assert (m / "h1").stat().st_nlink == 2


# --- open files ---


@both
def test_an_old_descriptor_sees_a_copy_up(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "old"})])
    fd = os.open(m / "f", os.O_RDONLY)
    assert os.pread(fd, 10, 0) == b"old"
    with open(m / "f", "a") as file:
        file.write("+new")
    assert os.pread(fd, 10, 0) == b"old+new"
    assert os.fstat(fd).st_size == 7
    os.close(fd)


@pytest.mark.parametrize("where", ["upper", "lower"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
def test_an_unlinked_open_file_lives_on(
    mount: Mount, make_layer: Make, where: str, flags: int
) -> None:
    m = mount([make_layer("base", {"f": "data"} if where == "lower" else {})])
    if where == "upper":
        (m / "f").write_text("data")
    fd = os.open(m / "f", flags)
    (m / "f").unlink()
    assert os.fstat(fd).st_nlink == 0
    assert os.pread(fd, 10, 0) == b"data"
    os.fchmod(fd, 0o640)
    os.fchown(fd, 5, 6)
    os.setxattr(fd, "user.x", b"1")
    assert os.getxattr(fd, "user.x") == b"1"
    os.utime(fd, ns=(1, 2))
    info = os.fstat(fd)
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_mtime_ns) == (0o640, 5, 2)
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    os.pwrite(again, b"DA", 0)
    os.ftruncate(again, 3)
    os.fsync(again)
    assert os.pread(fd, 10, 0) == b"DAt"
    os.close(again)
    os.close(fd)
    assert os.listdir(m) == []
    m.remount()
    assert os.listdir(m) == []


@both
def test_a_renamed_over_open_file_lives_on(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "one", "g": "two"})])
    fd = os.open(m / "g", os.O_RDONLY)
    (m / "f").rename(m / "g")
    assert os.pread(fd, 10, 0) == b"two"
    assert (m / "g").read_text() == "one"
    os.close(fd)


def test_shared_mappings_see_each_others_writes(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": b"x" * 8192})])
    with open(m / "f", "rb") as reading, open(m / "f", "r+b") as writing:
        shown = mmap.mmap(reading.fileno(), 0, prot=mmap.PROT_READ)
        other = mmap.mmap(writing.fileno(), 0)
        other[0:3] = b"new"
        other.flush()
        assert shown[0:3] == b"new"
        shown.close()
        other.close()
    m.remount()
    assert (m / "f").read_bytes()[:4] == b"newx"


@both
def test_locks_work_between_processes(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x"})])
    with open(m / "f", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = subprocess.run(["flock", "-n", str(m / "f"), "true"], check=False)
        assert done.returncode == 1


# --- readdir ---


@both
def test_deleting_while_listing_sees_each_name_once(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {f"d/{n:04}": "" for n in range(1500)})])
    seen = []
    with os.scandir(m / "d") as items:
        for item in items:
            seen.append(item.name)
            os.unlink(item.path)
    assert sorted(seen) == [f"{n:04}" for n in range(1500)]
    assert os.listdir(m / "d") == []


@both
def test_seekdir_returns_to_the_same_entry(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {f"d/{n}": "" for n in range(300)})
    m = mount([make_layer("top", {"d/t": ""}), base])
    libc = ctypes.CDLL(None)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    handle = ctypes.c_void_p(libc.opendir(os.fsencode(m / "d")))

    def next_name() -> bytes:
        entry = libc.readdir(handle)
        return ctypes.string_at(entry + 19) if entry else b""

    for _ in range(100):
        next_name()
    place = libc.telldir(handle)
    following = [next_name() for _ in range(5)]
    while next_name():
        pass
    libc.seekdir(handle, ctypes.c_long(place))
    assert [next_name() for _ in range(5)] == following
    libc.closedir(handle)


@pytest.mark.slow
def test_a_hundred_thousand_names(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"d": Directory()})
    for n in range(100_000):
        os.close(os.open(base / f"d/{n}", os.O_CREAT | os.O_WRONLY))
    m = mount([base])
    assert len(os.listdir(m / "d")) == 100_000
    (m / "d/77").unlink()
    (m / "d/new").touch()
    assert len(os.listdir(m / "d")) == 100_000


# --- hostile layers, permissions, failures ---


def test_a_thousand_layers(mount: Mount, make_layer: Make, tmp_path: Path) -> None:
    many = [make_layer(f"l{n}", {f"f{n}": "x", "same": str(n)}) for n in range(1000)]
    m = mount(many)
    assert len(os.listdir(m)) == 1001
    assert (m / "same").read_text() == "0"
    (m / "f999").unlink()
    assert not (m / "f999").exists()


@both
def test_ownership_of_what_a_user_makes(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"d": Directory(mode=0o777), "d/gone": ""})])
    os.unlink(m / "d/gone")
    as_user(
        m / "d",
        "os.umask(0o022); os.mkdir('sub'); open('f', 'w'); open('gone', 'w');"
        "os.symlink('x', 's'); os.mkfifo('p')",
    )
    for name, mode in (("sub", 0o755), ("f", 0o644), ("gone", 0o644), ("s", 0o777), ("p", 0o644)):
        info = (m / "d" / name).lstat()
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 1234, mode), name


def test_squash_and_mapping_options(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"f": File(b"", uid=100005, gid=100006)})
    m = mount([base], options=["uidmapping=0:100000:65536,gidmapping=0:100000:65536"])
    assert ((m / "f").stat().st_uid, (m / "f").stat().st_gid) == (5, 6)
    (m / "new").touch()
    assert (raw_upper(m) / "new").stat().st_uid == 100000
    os.chown(m / "f", 7, 8)
    assert (raw_upper(m) / "f").stat().st_uid == 100007
    squashed = mount([base], options=["squash_to_uid=42", "squash_to_gid=43"])
    assert ((squashed / "f").stat().st_uid, (squashed / "f").stat().st_gid) == (42, 43)


def test_a_full_upper_keeps_the_old_state(mount: Mount, make_layer: Make, tmpfs: Path) -> None:
    m = mount(
        [make_layer("base", {"big": os.urandom(3 << 20), "small": "x"})], upper=tmpfs / "upper"
    )
    before = trees.snapshot(m)
    assert errno_of(lambda: os.chmod(m / "big", 0o600)) == errno.ENOSPC
    assert errno_of(lambda: os.open(m / "big", os.O_WRONLY)) == errno.ENOSPC
    assert trees.snapshot(m) == before
    assert os.listdir(tmpfs / "upper") == []
    (m / "small").write_text("still works")
    m.unmount()


def test_hard_links_go_up_all_or_none(mount: Mount, make_layer: Make, tmp_path: Path) -> None:
    base = make_layer("base", {"a/h1": "h", "b/h2": HardLink("a/h1")})
    for inodes in range(6, 12):
        room = tmp_path / f"room{inodes}"
        room.mkdir()
        options = f"nr_inodes={inodes}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(room)], check=True)
        try:
            m = mount([base], upper=room / "upper")
            try:
                os.chmod(m / "a/h1", 0o600)
                names = 2
            except OSError as error:
                assert error.errno == errno.ENOSPC
                names = 0
            assert len([p for p in raw_upper(m).rglob("h*") if p.is_file()]) == names
            m.unmount()
        finally:
            subprocess.run(["umount", "-l", str(room)], check=True)


def test_a_full_upper_does_not_change_the_format(
    mount: Mount, make_layer: Make, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=6", "tmpfs", str(room)], check=True)
    try:
        for name in ("upper", "upper.work", "upper/x", "upper.work/work"):
            (room / name).mkdir(exist_ok=True)
        (room / "full").touch()
        m = mount([make_layer("base", {"f": "x"})], upper=room / "upper")
        assert "wh." not in m.stderr
        assert errno_of((m / "f").unlink) == errno.ENOSPC
        assert (m / "f").read_text() == "x"
        m.unmount()
    finally:
        subprocess.run(["umount", "-l", str(room)], check=True)


def test_an_immutable_lower_file_stays(mount: Mount, make_layer: Make) -> None:
    base = make_layer("base", {"f": "x"})
    subprocess.run(["chattr", "+i", str(base / "f")], check=True)
    try:
        m = mount([base])
        assert errno_of(lambda: os.chmod(m / "f", 0o600)) == errno.EPERM
        assert os.listdir(raw_upper(m)) == []
    finally:
        subprocess.run(["chattr", "-i", str(base / "f")], check=True)


def test_read_only_views_refuse_changes(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x"})], upper=False)
    assert errno_of(lambda: (m / "f").chmod(0o600)) == errno.EROFS
    assert errno_of(lambda: (m / "new").touch()) == errno.EROFS


def test_stale_work_is_cleaned(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "x"})])
    m.unmount()
    assert m.stack.work is not None
    (m.stack.work / "work/#beef").write_text("litter")
    (m.stack.work / "work/dir/deep").mkdir(parents=True)
    m.remount()
    assert all(
        name.startswith("#") and name != "#beef" for name in os.listdir(m.stack.work / "work")
    )


def test_files_with_a_whiteout_in_another_layer(mount: Mount, make_layer: Make) -> None:
    top = make_layer("top", {"a": Whiteout(), "d/x": Whiteout()})
    m = mount([top, make_layer("base", {"a": "1", "d/x": "2", "d/y": "3"})])
    assert sorted(os.listdir(m)) == ["d"]
    assert os.listdir(m / "d") == ["y"]
    (m / "d/x").write_text("new")
    m.remount()
    assert (m / "d/x").read_text() == "new"
