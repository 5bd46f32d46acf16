"""What COPY writes, into friendly and into hostile roots."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from layertool.build.copying import Attributes, Writer
from layertool.build.modes import parse_chmod
from layertool.build.selection import select
from layertool.build.tree import Tree
from layertool.errors import LayertoolError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "dir/sub").mkdir(parents=True)
    (root / "file").write_text("content")
    (root / "dir/one").write_text("1")
    (root / "dir/sub/two").write_text("2")
    (root / "dir/link").symlink_to("one")
    (root / "link").symlink_to("file")
    os.utime(root / "file", (1_000_000, 1_000_000))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The destination; the canary beside it must stay as it is."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("canary")
    (tmp_path / "root").mkdir()
    yield tmp_path / "root"
    assert [path.name for path in canary.iterdir()] == ["file"]
    assert (canary / "file").read_text() == "canary"
    assert stat.S_IMODE((canary / "file").stat().st_mode) & 0o700 == 0o600


def copy(
    source: Path,
    root: Path,
    sources: list[str],
    dest: str,
    attributes: Attributes = Attributes(),  # noqa: B008 - frozen
    **options: bool,
) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Tree(source, "source") as tree, Writer(fd, attributes) as writer:
            writer.copy(select(tree, sources, dest, **options), dest)
    finally:
        os.close(fd)


def shape(root: Path) -> dict[str, str]:
    """path -> content, `->` target, or `/`."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


DIR = {"one": "1", "link": "-> one", "sub": "/", "sub/two": "2"}


@pytest.mark.parametrize(
    ("before", "sources", "dest", "expected"),
    [
        ([], ["file"], "/", {"file": "content"}),
        ([], ["file"], "/new", {"new": "content"}),
        ([], ["file"], "/new/", {"new": "/", "new/file": "content"}),
        ([], ["file"], "/a/b/new", {"a": "/", "a/b": "/", "a/b/new": "content"}),
        (["d/"], ["file"], "/d", {"d": "/", "d/file": "content"}),
        (["d"], ["file"], "/d", {"d": "content"}),
        ([], ["link"], "/", {"link": "content"}),
        ([], ["dir"], "/", DIR),
        ([], ["dir"], "/d", {"d": "/", **{f"d/{name}": text for name, text in DIR.items()}}),
        (["sub/", "sub/old"], ["dir"], "/", {**DIR, "sub/old": ""}),
        (["one"], ["dir"], "/", DIR),
        ([], ["file", "dir"], "/d", {
            "d": "/", "d/file": "content", **{f"d/{name}": text for name, text in DIR.items()}}),
    ],
)  # fmt: skip
def test_destinations(
    source: Path, root: Path, before: list[str], sources: list[str], dest: str,
    expected: dict[str, str],
) -> None:  # fmt: skip
    for name in before:
        if name.endswith("/"):
            (root / name).mkdir()
        else:
            (root / name).touch()
    copy(source, root, sources, dest)
    assert shape(root) == dict(sorted(expected.items()))


def test_times_and_modes(source: Path, root: Path) -> None:
    (source / "dir").chmod(0o750)
    os.utime(source / "dir", (2_000_000, 2_000_000))
    (source / "file").chmod(0o4711)
    copy(source, root, ["file"], "/a/b/")
    copy(source, root, ["dir"], "/new")
    assert (root / "a/b/file").stat().st_mtime == 1_000_000
    assert stat.S_IMODE((root / "a/b/file").stat().st_mode) == 0o4711
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o750
    assert (root / "new").stat().st_mtime == 2_000_000


def test_parents_made_for_a_umask(source: Path, root: Path) -> None:
    old = os.umask(0o077)
    try:
        copy(source, root, ["file"], "/a/b/")
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o755


def test_an_existing_destination_keeps_its_mode(source: Path, root: Path) -> None:
    (root / "d").mkdir(mode=0o700)
    copy(source, root, ["dir"], "/d")
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700


def test_chmod_is_for_files_and_directories_not_links(source: Path, root: Path) -> None:
    copy(source, root, ["dir"], "/d", Attributes(chmod=parse_chmod("u=rwX,go=")))
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "d/one").stat().st_mode) == 0o600


@pytest.mark.needs("root")
def test_chown(source: Path, root: Path) -> None:
    copy(source, root, ["dir"], "/made/d", Attributes(owner=(12, 34)))
    for name in ("made", "made/d", "made/d/one", "made/d/link"):
        info = (root / name).lstat()
        assert (info.st_uid, info.st_gid) == (12, 34), name


@pytest.mark.needs("root")
def test_context_files_become_roots(source: Path, root: Path) -> None:
    os.chown(source / "file", 12, 34)
    copy(source, root, ["file"], "/")
    assert (root / "file").stat().st_uid == 0


def test_hard_links_stay_links(source: Path, root: Path) -> None:
    os.link(source / "dir/one", source / "dir/sub/uno")
    copy(source, root, ["dir"], "/d")
    assert (root / "d/one").samefile(root / "d/sub/uno")


def test_xattrs_travel(source: Path, root: Path) -> None:
    os.setxattr(source / "file", "user.note", b"\x00bytes")
    copy(source, root, ["file"], "/")
    assert os.getxattr(root / "file", "user.note") == b"\x00bytes"


def test_usrmerge_links_are_followed_inside(source: Path, root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "abs").symlink_to("/usr")
    copy(source, root, ["file"], "/lib/")
    copy(source, root, ["file"], "/abs/x")
    assert (root / "usr/lib/file").read_text() == "content"
    assert (root / "usr/x").read_text() == "content"
    assert (root / "lib").is_symlink()


def test_a_directory_onto_a_link_to_one_keeps_the_link(source: Path, root: Path) -> None:
    (root / "real").mkdir(mode=0o700)
    (root / "sub").symlink_to("real")
    copy(source, root, ["dir"], "/")
    assert (root / "real/two").read_text() == "2"
    assert (root / "sub").is_symlink()
    assert stat.S_IMODE((root / "real").stat().st_mode) == 0o700


# Links that an image may hold to lead a builder out; CANARY is an existing directory outside.
HOSTILE = [
    "CANARY",
    "CANARY/file",
    "../canary",
    "../../../../../../CANARY",
    "/proc/self/root/CANARY",
]


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize("dest", ["/trap", "/trap/", "/trap/file", "/trap/new/file"])
def test_hostile_links_lead_nowhere(source: Path, root: Path, target: str, dest: str) -> None:
    """The canary fixture checks that nothing outside changed."""
    canary = str(root.parent / "canary")
    (root / "trap").symlink_to(target.replace("/CANARY", canary).replace("CANARY", canary))
    try:
        copy(source, root, ["file"], dest)
    except LayertoolError as error:
        assert "\n" not in str(error)


def test_links_below_a_copied_directory_are_not_followed(source: Path, root: Path) -> None:
    (root / "one").symlink_to(root.parent / "canary/file")
    (root / "sub").symlink_to(root.parent / "canary")
    with pytest.raises(LayertoolError):
        copy(source, root, ["dir"], "/")


@pytest.mark.parametrize(
    ("make", "dest", "problem"),
    [
        ("dir", "/file", None),
        ("sub-is-file", "/", "not a directory"),
        ("one-is-dir", "/", "a file cannot replace it"),
        ("file-on-way", "/x/y", "not a directory"),
    ],
)
def test_kinds_that_do_not_fit(
    source: Path, root: Path, make: str, dest: str, problem: str | None
) -> None:
    if make == "sub-is-file":
        (root / "sub").touch()
    elif make == "one-is-dir":
        (root / "one").mkdir()
    elif make == "file-on-way":
        (root / "x").touch()
    if problem is None:
        copy(source, root, ["dir"], dest)
        return
    with pytest.raises(LayertoolError, match=problem):
        copy(source, root, ["dir"], dest)


def test_a_fifo_is_copied_and_a_socket_is_not(source: Path, root: Path) -> None:
    import socket

    os.mkfifo(source / "dir/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "dir/sock"))
        copy(source, root, ["dir"], "/d")
    assert stat.S_ISFIFO((root / "d/pipe").stat().st_mode)
    assert not (root / "d/sock").exists()


def test_names_of_any_bytes(source: Path, root: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n*")
    (source / "dir" / name).write_text("odd")
    copy(source, root, ["dir"], "/d")
    assert (root / "d" / name).read_text() == "odd"


def test_a_full_disk_is_one_line(source: Path, root: Path) -> None:
    (source / "big").write_bytes(b"x" * 100)
    fd = os.open("/dev/full", os.O_WRONLY)
    from layertool.build.copying import _write_all

    try:
        with pytest.raises(LayertoolError, match=r"No space left.*free some space"):
            _write_all(fd, b"x", "/big")
    finally:
        os.close(fd)
