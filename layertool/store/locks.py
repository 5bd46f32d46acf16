"""Locks between processes, all flock(2): the kernel drops them when their owner dies.

| file | shared | exclusive |
|---|---|---|
| `locks/store` | while content is published or referenced | the sweep of gc, and fsck --repair |
| `locks/blob-…` | | one process downloads this blob |
| `locks/layer-…` | | one process unpacks this layer |
| `locks/lease-…` | | its owner lives: content of the lease is protected |
| `tmp/NAME/` (the directory itself) | | its owner lives: do not clean it up |

A pid file would have to be believed; a lock can be tried. flock belongs to the open file, so two
threads of one process exclude each other too.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layertool.store.trees import remove_tree


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, waiting for it as long as it takes."""
    fd = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def hold(path: Path) -> int:
    """Take `path` exclusively for as long as the returned descriptor is open."""
    return _acquire(path, fcntl.LOCK_EX)


def _acquire(path: Path, operation: int) -> int:
    """Another process may delete a lock file it holds (`discard_if_free`): a lock on a deleted
    file excludes nobody, so it is taken again on the file that the name now means."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, operation)
            if os.fstat(fd).st_nlink > 0:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_held(path: Path) -> bool:
    """Whether some process has `path` locked. Only a snapshot.

    Asked with a shared lock: those who ask at the same time must not take each other for holders.
    """
    fd = _try(path, fcntl.LOCK_SH)
    if fd is not None:
        os.close(fd)
    return fd is None and path.exists()


def discard_if_free(path: Path) -> bool:
    """Delete a lock file that nobody holds; say whether it was free."""
    fd = _try(path)
    if fd is None:
        return not path.exists()
    try:
        os.unlink(path)
    finally:
        os.close(fd)
    return True


def _try(path: Path, operation: int = fcntl.LOCK_EX) -> int | None:
    """The descriptor of the lock, or None: held by another, or there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    if os.fstat(fd).st_nlink == 0:
        os.close(fd)
        return None
    return fd


class Scratch:
    """Directories under `tmp/` for what is not finished yet, on the store's own file system.

    Each one is locked while its owner lives; one that can be locked belonged to a dead process.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def workspace(self, purpose: str) -> Iterator[Path]:
        """A new empty directory, deleted at the end with whatever is left in it."""
        path, fd = self._create(purpose)
        try:
            yield path
        finally:
            try:
                remove_tree(path)
            finally:
                os.close(fd)

    def _create(self, purpose: str) -> tuple[Path, int]:
        while True:
            path = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=self._directory))
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # a cleaner saw it before it was locked
            fcntl.flock(fd, fcntl.LOCK_EX)
            if path.exists():
                return path, fd
            os.close(fd)

    def clean(self) -> None:
        """Delete what dead processes left behind. Safe beside living ones."""
        for path in sorted(self._directory.iterdir()):
            fd = _try(path)
            if fd is None:
                continue
            try:
                remove_tree(path)
            finally:
                os.close(fd)
