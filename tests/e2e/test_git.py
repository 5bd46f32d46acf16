"""A repository in a lower layer, worked on through the mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest.twins import Twins

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "overlay", "git")]

# Everything that would make two commits of the same content different.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "pack.threads",
    "GIT_CONFIG_VALUE_0": "1",
    "GIT_CONFIG_KEY_1": "safe.directory",
    "GIT_CONFIG_VALUE_1": "*",
    "GIT_CONFIG_KEY_2": "gc.auto",
    "GIT_CONFIG_VALUE_2": "0",
    "HOME": "/nonexistent",
}


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout


def start(root: Path) -> None:
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for number in range(60):
        path = root / f"src/{number % 6}/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * (number + 1))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")


def develop(root: Path) -> list[str]:
    """Branches, a merge, a stash, a directory renamed, a gc, checkouts to and fro."""
    git(root, "checkout", "-q", "-b", "topic")
    (root / "src/0/0.txt").write_text("changed on topic\n")
    git(root, "rm", "-q", "-r", "src/1")
    git(root, "mv", "src/2", "moved")
    git(root, "commit", "-q", "-a", "-m", "topic")
    git(root, "checkout", "-q", "main")
    (root / "src/5/new").write_text("new on main\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "main")
    git(root, "merge", "-q", "--no-edit", "topic")
    (root / "src/5/new").write_text("not committed\n")
    git(root, "stash", "-q")
    git(root, "repack", "-q", "-a", "-d")
    git(root, "gc", "-q", "--prune=now")
    git(root, "checkout", "-q", "HEAD~1")
    git(root, "checkout", "-q", "main")
    git(root, "stash", "pop", "-q")
    git(root, "fsck", "--strict")
    return [
        git(root, "rev-parse", "HEAD"),
        git(root, "status", "--porcelain"),
        git(root, "log", "--oneline", "--all"),
    ]


def holds_inode_numbers(path: bytes) -> bool:
    """The index remembers device and inode of each file."""
    return path in (b"repo/.git/index", b"new/.git/index")


def test_a_repository_of_a_lower_layer(make_twins: Callable[..., Twins], tmp_path: Path) -> None:
    lower = tmp_path / "layers" / "base"
    start(lower / "repo")
    twins = make_twins(lower)
    twins.do(lambda root: develop(root / "repo"))
    status = git(twins.mounted / "repo", "status", "--porcelain")
    twins.mounted.remount()
    assert git(twins.mounted / "repo", "status", "--porcelain") == status
    twins.compare(exclude=holds_inode_numbers)


def test_init_and_clone_on_the_mount(make_twins: Callable[..., Twins], tmp_path: Path) -> None:
    lower = tmp_path / "layers" / "base"
    lower.mkdir(parents=True)
    twins = make_twins(lower)

    def work(root: Path) -> list[str]:
        start(root / "repo")
        git(root, "clone", "-q", "repo", "new")
        return develop(root / "new")

    twins.do(work)
    # A clone writes its origin's path into the configuration and the logs.
    with_paths = (
        b"new/.git/config",
        b"new/.git/logs",
        b"new/.git/FETCH_HEAD",
        b"new/.git/packed-refs",
    )
    twins.compare(exclude=lambda path: holds_inode_numbers(path) or path in with_paths)
