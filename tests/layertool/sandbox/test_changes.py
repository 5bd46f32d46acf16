"""A, C and D from an upper, for every way in which kernel overlayfs writes one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from layertool.sandbox.changes import changes
from layertool.sandbox.merge import merged

Script = Callable[[Path], None]


def _remove_and_make_again(root: Path) -> None:
    shutil.rmtree(root / "dir")
    (root / "dir").mkdir()
    (root / "dir/new").touch()


def _replace_file_by_directory(root: Path) -> None:
    (root / "top").unlink()
    (root / "top").mkdir()
    (root / "top/in").touch()


def _chmod_and_back(root: Path) -> None:
    before = (root / "dir").stat()
    (root / "dir").chmod(0o700)
    (root / "dir").chmod(before.st_mode & 0o7777)


CASES: list[tuple[str, Script, list[str]]] = [
    ("nothing", lambda root: None, []),
    ("read", lambda root: (root / "top").read_text() and None, []),
    ("add", lambda root: (root / "new").touch(), ["A /new"]),
    ("add below", lambda root: (root / "dir/new").touch(), ["C /dir", "A /dir/new"]),
    ("change", lambda root: (root / "top").write_text("x") and None, ["C /top"]),
    ("chmod", lambda root: (root / "top").chmod(0o600), ["C /top"]),
    ("chmod directory", lambda root: (root / "dir").chmod(0o700), ["C /dir"]),
    ("chmod and back", _chmod_and_back, []),
    ("delete", lambda root: (root / "top").unlink(), ["D /top"]),
    ("delete below", lambda root: (root / "dir/one").unlink(), ["C /dir", "D /dir/one"]),
    ("delete tree", lambda root: shutil.rmtree(root / "dir"), ["D /dir"]),
    ("add tree", lambda root: (root / "a/b/c").mkdir(parents=True), ["A /a", "A /a/b", "A /a/b/c"]),
    (
        "replace tree",
        _remove_and_make_again,
        ["C /dir", "A /dir/new", "D /dir/one", "D /dir/sub"],
    ),
    ("rename", lambda root: (root / "top").rename(root / "moved"), ["A /moved", "D /top"]),
    ("file to directory", _replace_file_by_directory, ["C /top", "A /top/in"]),
    ("link", lambda root: (root / "ln").symlink_to("top"), ["A /ln"]),
    ("hidden stays hidden", lambda root: (root / "gone").touch(), ["A /gone"]),
]


@pytest.fixture
def lowers(tmp_path: Path) -> list[Path]:
    top, bottom = tmp_path / "l2", tmp_path / "l1"
    (bottom / "dir/sub").mkdir(parents=True)
    (bottom / "dir/one").write_text("1")
    (bottom / "dir/sub/deep").write_text("2")
    (bottom / "top").write_text("3")
    (bottom / "gone").write_text("4")
    top.mkdir()
    os.mknod(top / "gone", 0o20000, 0)
    return [top, bottom]


@pytest.mark.needs("root", "overlay")
@pytest.mark.parametrize("driver", ["kernel", pytest.param("fuse", marks=pytest.mark.mounted)])
@pytest.mark.parametrize(
    ("script", "lines"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_changes(
    tmp_path: Path, lowers: list[Path], driver: str, script: Script, lines: list[str]
) -> None:
    upper = tmp_path / "upper"
    with merged(lowers, upper, tmp_path / "work", tmp_path / "at", driver) as root:
        script(root)
    found = [f"{change.kind} {os.fsdecode(change.path)}" for change in changes(upper, lowers)]
    assert found == lines


def test_marker_whiteouts(tmp_path: Path, lowers: list[Path]) -> None:
    """The form written where char devices cannot be made."""
    upper = tmp_path / "upper"
    (upper / "dir").mkdir(parents=True)
    (upper / "dir/.wh..wh..opq").touch()
    (upper / ".wh.top").touch()
    (upper / ".wh.never").touch()
    lines = [f"{c.kind} {os.fsdecode(c.path)}" for c in changes(upper, lowers)]
    assert lines == ["C /dir", "D /dir/one", "D /dir/sub", "D /top"]


def test_opaque_of_an_ordinary_user(tmp_path: Path, lowers: list[Path]) -> None:
    upper = tmp_path / "upper"
    (upper / "dir").mkdir(parents=True)
    os.setxattr(upper / "dir", "user.overlay.opaque", b"y")
    lines = [f"{c.kind} {os.fsdecode(c.path)}" for c in changes(upper, lowers)]
    assert lines == ["C /dir", "D /dir/one", "D /dir/sub"]
