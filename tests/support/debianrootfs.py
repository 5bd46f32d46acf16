"""A Debian root file system for tests, made once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SUITE = "bookworm"
_SECONDS = 900


def rootfs_tar() -> Path:
    """A tar of a `debootstrap --variant=minbase` tree. Needs root and, the first time, a mirror.

    Skips the test, with the reason, when there is neither a copy nor a way to make one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertool-tests"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"debian-{SUITE}-minbase.tar"
    with open(cache / "debian.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _make(kept)
    return kept


def _make(kept: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a Debian rootfs")
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(prefix="debian-rootfs-", dir="/var/tmp") as name:
        tree = Path(name) / "tree"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", SUITE, str(tree)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if made.returncode != 0:
            last = (made.stdout + made.stderr).strip().rpartition("\n")[2]
            pytest.skip(f"needs a Debian mirror, or a copy of the rootfs in {kept}: {last}")
        # Of no use to anybody, and a fifth of the whole.
        shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)
        (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
        partial = kept.with_suffix(".partial")
        subprocess.run(
            ["tar", "--numeric-owner", "--xattrs", "-C", str(tree), "-cf", str(partial), "."],
            check=True,
        )
        partial.replace(kept)
