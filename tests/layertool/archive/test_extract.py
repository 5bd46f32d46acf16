"""Unpacking: image-spec's rules, row by row, on disk."""

import gzip
import hashlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from archivetest.craft import directory, gnu_sparse, hardlink, member, symlink, tar
from archivetest.trees import look

from layertool.archive import (
    Extracted,
    IndexEntry,
    IndexWriter,
    Owner,
    extract_layer,
    read_index,
)
from layertool.errors import BadArchive
from layertool.oci.digest import Digest

pytestmark = pytest.mark.needs("root")
Build = Callable[[Path], None]


def extract(
    data: bytes, root: Path, mode: str = "kernel", owner: Owner = Owner.KEEP
) -> tuple[Extracted, list[IndexEntry]]:
    root.mkdir(exist_ok=True)
    fd = os.open(root, os.O_RDONLY)
    file = io.BytesIO()
    index = IndexWriter(file)
    try:
        done = extract_layer(
            io.BytesIO(data),
            fd,
            format=mode,  # type: ignore[arg-type]
            owner=owner,
            index=index,
        )
    finally:
        os.close(fd)
    index.close()
    file.seek(0)
    return done, list(read_index(file))


def _is_whiteout(path: Path) -> bool:
    info = path.lstat()
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _is_opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


# A layer's parts, put together in every order: the result must not depend on it.
_PARTS = {
    "d": directory(b"d"),
    "d/new": member(b"d/new", data=b"new"),
    "whiteout": member(b"d/.wh.gone"),
    "whiteout of the new": member(b"d/.wh.new"),
    "opaque": member(b"d/.wh..wh..opq"),
}


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 3, 2, 1), (3, 1, 4, 2), (2, 4, 1, 3)])
class TestOrder:
    def _data(self, order: Sequence[int]) -> bytes:
        parts = list(_PARTS.values())
        return tar(parts[0], *(parts[number] for number in order))

    def test_kernel(self, order: Sequence[int], tmp_path: Path) -> None:
        extract(self._data(order), tmp_path)
        assert (tmp_path / "d/new").read_bytes() == b"new"
        assert _is_whiteout(tmp_path / "d/gone")
        assert _is_opaque(tmp_path / "d")
        assert sorted(os.listdir(tmp_path / "d")) == ["gone", "new"]

    def test_aufs(self, order: Sequence[int], tmp_path: Path) -> None:
        extract(self._data(order), tmp_path, "aufs")
        assert sorted(os.listdir(tmp_path / "d")) == [".wh..wh..opq", ".wh.gone", "new"]
        assert os.listxattr(tmp_path / "d") == []

    def test_apply(self, order: Sequence[int], tmp_path: Path) -> None:
        (tmp_path / "d/sub/deep").mkdir(parents=True)
        for name in ("d/gone", "d/old", "d/new", "d/sub/deep/old", "kept"):
            (tmp_path / name).write_text("old")
        extract(self._data(order), tmp_path, "apply")
        assert os.listdir(tmp_path / "d") == ["new"]
        assert (tmp_path / "d/new").read_bytes() == b"new"
        assert (tmp_path / "kept").read_text() == "old"


@pytest.mark.parametrize("mark_first", [True, False])
def test_a_directory_deleted_and_made_anew_is_opaque(mark_first: bool, tmp_path: Path) -> None:
    parts = [member(b".wh.d"), directory(b"d") + member(b"d/f")]
    extract(tar(*(parts if mark_first else parts[::-1])), tmp_path / "kernel")
    assert _is_opaque(tmp_path / "kernel/d")
    assert os.listdir(tmp_path / "kernel") == ["d"]
    (tmp_path / "apply/d/below").mkdir(parents=True)
    extract(tar(*(parts if mark_first else parts[::-1])), tmp_path / "apply", "apply")
    assert os.listdir(tmp_path / "apply/d") == ["f"]


def test_whiteouts_spare_what_the_layer_wrote_under_another_path(tmp_path: Path) -> None:
    """`lib` is `usr/lib`: one and the same directory for a deletion."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib/old").write_text("old")
    data = tar(
        member(b"usr/lib/.wh.new"),
        member(b"usr/lib/.wh.old"),
        member(b"lib/new", data=b"x"),
    )
    extract(data, tmp_path, "apply")
    assert os.listdir(tmp_path / "usr/lib") == ["new"]


def test_symlinked_parents_resolve_inside_the_root(tmp_path: Path) -> None:
    data = tar(
        directory(b"usr"),
        directory(b"usr/lib"),
        symlink(b"lib", b"usr/lib"),
        symlink(b"abs", b"/usr/../../usr/lib"),
        member(b"lib/one", data=b"1"),
        member(b"abs/two", data=b"2"),
        hardlink(b"three", b"/lib/one"),
    )
    extract(data, tmp_path)
    assert sorted(os.listdir(tmp_path / "usr/lib")) == ["one", "two"]
    assert (tmp_path / "three").samefile(tmp_path / "usr/lib/one")


def test_missing_parents_are_made_and_take_later_attributes(tmp_path: Path) -> None:
    data = tar(member(b"a/b/c", data=b"x"), directory(b"a", 0o750, uid=7))
    extract(data, tmp_path)
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755
    info = (tmp_path / "a").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o750, 7)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (member(b"x", data=b"1"), member(b"x", data=b"2"), stat.S_IFREG),
        (directory(b"x") + member(b"x/y"), member(b"x", data=b"2"), stat.S_IFREG),
        (member(b"x"), directory(b"x"), stat.S_IFDIR),
        (symlink(b"x", b"."), directory(b"x"), stat.S_IFDIR),
        (directory(b"x") + member(b"x/y"), symlink(b"x", b"y"), stat.S_IFLNK),
        (symlink(b"x", b"y"), member(b"x", b"6"), stat.S_IFIFO),
        (member(b"x"), member(b"x", b"3", major=1, minor=3), stat.S_IFCHR),
    ],
)
def test_the_last_entry_of_a_path_wins(
    first: bytes, second: bytes, kind: int, tmp_path: Path
) -> None:
    _, index = extract(tar(first, second), tmp_path)
    assert stat.S_IFMT((tmp_path / "x").lstat().st_mode) == kind
    assert [entry.path for entry in index] == [b"x"]


def test_a_directory_named_twice_keeps_its_children(tmp_path: Path) -> None:
    data = tar(directory(b"d", 0o700), member(b"d/f"), directory(b"d", 0o711))
    _, index = extract(data, tmp_path)
    assert (tmp_path / "d/f").exists()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o711
    assert [(entry.path, entry.mode) for entry in index if entry.path == b"d"] == [(b"d", 0o711)]


def test_attributes(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    data = tar(
        directory(b".", 0o751, uid=3, mtime=77),
        directory(b"d", 0o555, mtime=1234),
        member(
            b"d/suid",
            mode=0o6755,
            uid=1000,
            gid=1001,
            pax={b"mtime": b"5.000000009"},
            xattrs={"security.capability": capability, "user.x": b"\0\xff"},
        ),
        member(b"d/fifo", b"6", mode=0o622, uid=5),
        member(b"d/null", b"3", mode=0o666, major=1, minor=3, mtime=9),
        member(b"d/link", b"2", link=b"suid", uid=8, gid=9, mtime=10),
    )
    extract(data, tmp_path)
    root = tmp_path.stat()
    assert (stat.S_IMODE(root.st_mode), root.st_uid, root.st_mtime) == (0o751, 3, 77)
    above = (tmp_path / "d").stat()
    assert (stat.S_IMODE(above.st_mode), above.st_mtime) == (0o555, 1234)
    suid = tmp_path / "d/suid"
    info = suid.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o6755, 1000, 1001)
    assert info.st_mtime_ns == 5_000_000_009
    assert os.getxattr(suid, "security.capability") == capability
    assert os.getxattr(suid, "user.x") == b"\0\xff"
    assert stat.S_IMODE((tmp_path / "d/fifo").stat().st_mode) == 0o622
    null = (tmp_path / "d/null").stat()
    assert (null.st_rdev, stat.S_IMODE(null.st_mode)) == (os.makedev(1, 3), 0o666)
    link = (tmp_path / "d/link").lstat()
    assert (link.st_uid, link.st_gid, link.st_mtime) == (8, 9, 10)


def test_attributes_of_the_packing_machine_are_not_set(tmp_path: Path) -> None:
    extract(
        tar(member(b"f", xattrs={"security.selinux": b"x", "user.fuseoverlayfs.a": b"y"})), tmp_path
    )
    assert os.listxattr(tmp_path / "f") == []


def test_what_cannot_be_set_is_told_once(tmp_path: Path) -> None:
    data = tar(*(member(name, b"2", link=b"t", xattrs={"user.x": b"1"}) for name in (b"a", b"b")))
    done, _ = extract(data, tmp_path)
    assert len(done.warnings) == 1 and "user.x" in done.warnings[0]


def test_sparse_files_stay_sparse(tmp_path: Path) -> None:
    data = tar(gnu_sparse(b"s", [(1 << 20, 5)], 8 << 20, b"hello"))
    _, index = extract(data, tmp_path)
    info = (tmp_path / "s").stat()
    assert info.st_size == 8 << 20
    assert info.st_blocks * 512 < 1 << 20
    content = (tmp_path / "s").read_bytes()
    assert content == bytes(1 << 20) + b"hello" + bytes((7 << 20) - 5)
    assert index[0].sha256 == hashlib.sha256(content).digest()
    assert index[0].size == 8 << 20


def test_diff_id_covers_what_follows_the_end(tmp_path: Path) -> None:
    data = tar(member(b"f", data=b"x")) + b"trailing bytes" + bytes(5000)
    done, _ = extract(gzip.compress(data), tmp_path)
    assert done.diff_id == Digest.of(data)
    assert (done.entries, done.bytes, done.size) == (1, 1, len(data))


def test_index(tmp_path: Path) -> None:
    data = tar(
        directory(b"./", 0o755),
        member(b"./f", data=b"abc", mode=0o640, uid=1, gid=2, xattrs={"user.x": b"1"}),
        hardlink(b"./h", b"./f"),
        symlink(b"./l", b"f"),
        member(b"./n", b"4", major=8, minor=1),
        member(b"./.wh.gone"),
        member(b"./.wh..wh..opq"),
    )
    _, index = extract(data, tmp_path)
    by_path = {(entry.path, entry.type): entry for entry in index}
    assert list(by_path) == [
        (b"", "d"), (b"f", "f"), (b"h", "h"), (b"l", "l"), (b"n", "b"), (b"gone", "w"), (b"", "o"),
    ]  # fmt: skip
    file = by_path[b"f", "f"]
    assert (file.mode, file.uid, file.gid, file.size) == (0o640, 1, 2, 3)
    assert file.sha256 == hashlib.sha256(b"abc").digest()
    assert len(file.xattrs) == 32
    assert by_path[b"h", "h"].link == b"f"
    assert by_path[b"l", "l"].link == b"f"
    assert by_path[b"n", "b"].device == (8, 1)


def test_ignoring_owners(tmp_path: Path) -> None:
    extract(tar(member(b"f", uid=1234), symlink(b"l", b"f")), tmp_path, owner=Owner.IGNORE)
    assert (tmp_path / "f").stat().st_uid == os.geteuid()


def test_a_failed_apply_leaves_the_rest_alone(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    with pytest.raises(BadArchive, match="evil"):
        extract(tar(member(b".wh.old"), hardlink(b"evil", b"missing")), tmp_path, "apply")
    assert (tmp_path / "old").exists()


def test_replacing_a_tree_deeper_than_any_path(tmp_path: Path) -> None:
    deep = tmp_path / "d"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("x" * 40, dir_fd=here)
        below = os.open("x" * 40, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    extract(tar(member(b"d", data=b"flat")), tmp_path, "apply")
    assert (tmp_path / "d").read_bytes() == b"flat"


@pytest.mark.parametrize("mode", ["kernel", "apply"])
def test_without_openat2_the_walk_gives_the_same(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar(
        directory(b"usr"), directory(b"usr/lib"), symlink(b"lib", b"/usr/lib"),
        symlink(b"usr/up", b"../../.."), member(b"lib/a/b", data=b"1"),
        member(b"usr/up/lib/c", data=b"2"), member(b"lib/.wh.x"),
    )  # fmt: skip
    extract(data, tmp_path / "fast", mode)

    def missing(_root: int, _path: bytes) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("layertool.archive.inside._openat2", missing)
    extract(data, tmp_path / "walk", mode)
    seen = [look(tmp_path / name) for name in ("fast", "walk")]
    seconds = {path: tree._replace(seconds=0) for path, tree in seen[0].items()}
    assert seconds == {path: tree._replace(seconds=0) for path, tree in seen[1].items()}


def test_names_the_directories_that_no_entry_describes(tmp_path: Path) -> None:
    data = tar(
        member(b"a/b/file"),
        directory(b"a"),
        member(b"c/d/.wh.gone"),
        directory(b"link-to"),
        symlink(b"link", b"link-to"),
        member(b"link/e/file"),
        member(b"f/new/file"),
        member(b".wh.f"),
    )
    done, _ = extract(data, tmp_path)
    # `f` was deleted and made anew, so nothing below has a say in it; its child is new with it.
    assert done.implicit == [b"", b"a/b", b"c", b"c/d", b"f/new", b"link-to/e"]
    for path in done.implicit[1:]:
        info = (tmp_path / os.fsdecode(path)).stat()
        assert (info.st_mode & 0o7777, info.st_mtime_ns) == (0o755, 0)
    assert extract(tar(directory(b"./")), tmp_path / "described")[0].implicit == []


def test_onto_a_root_file_system_parents_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/empty").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/gone").touch()
    for path in ("usr/lib/empty", "usr/lib", "usr", "."):
        (tmp_path / path).chmod(0o700)
        os.utime(tmp_path / path, (5, 5))
    data = tar(
        member(b"lib/new"), member(b"usr/.wh.gone"), member(b"usr/lib/made/file"), member(b"top")
    )
    done, _ = extract(data, tmp_path, "apply")
    assert done.implicit == []
    for path in ("usr/lib/empty", "usr/lib", "usr", "."):
        info = (tmp_path / path).stat()
        assert (info.st_mode & 0o7777, info.st_mtime) == (0o700, 5), path
    assert (tmp_path / "usr/lib/made").stat().st_mtime == 0
