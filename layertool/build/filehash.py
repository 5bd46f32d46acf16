"""Content digests of files, remembered between builds.

A file is hashed again when its device, inode, size, mtime or ctime changed. Equal times do not
prove equal content when they are as new as the scan itself: a file written twice within the clock's
grain looks untouched (BuildKit #4817). So what changed in the last two seconds is not remembered.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from types import TracebackType

from layertool.build.tree import Entry, Tree
from layertool.errors import LayertoolError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (
    dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
    digest BLOB NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (dev, ino)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
"""
_SETTLED_NS = 2 * 10**9
_DAY = 24 * 3600
_KEEP_DAYS = 30
_CHUNK = 1 << 20


class FileHashes:
    """The memory, in one sqlite file; every answer can be recomputed, so losing it only costs time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._today = int(time.time()) // _DAY
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = _open(path)

    def __enter__(self) -> FileHashes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            oldest = self._today - _KEEP_DAYS
            for table in ("hashes", "notes"):
                self._database.execute(f"DELETE FROM {table} WHERE used < ?", (oldest,))
            self._database.close()

    def of(self, tree: Tree, entry: Entry) -> str:
        """The sha256 of a regular file, in hex. Raises LayertoolError when it cannot be read."""
        info = entry.info
        known = self._recall(info)
        if known is not None:
            return known
        digest, after = _hash(tree, entry)
        self._remember(after, digest)
        return digest

    def _recall(self, info: os.stat_result) -> str | None:
        with self._lock:
            row = self._database.execute(
                "SELECT digest FROM hashes WHERE dev = ? AND ino = ? AND size = ?"
                " AND mtime = ? AND ctime = ?",
                (_int64(info.st_dev), _int64(info.st_ino), info.st_size, *_times(info)),
            ).fetchone()
        return None if row is None else bytes(row[0]).hex()

    def _remember(self, info: os.stat_result, digest: str) -> None:
        if time.time_ns() - max(_times(info)) < _SETTLED_NS:
            return
        values = (_int64(info.st_dev), _int64(info.st_ino), info.st_size, *_times(info))
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, bytes.fromhex(digest), self._today),
            )

    def note(self, key: str) -> bytes | None:
        """Something remembered under a key that names all it depends on."""
        with self._lock:
            row = self._database.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_note(self, key: str, value: bytes) -> None:
        """Remember something."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (key, value, self._today)
            )


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError:
        # Damaged, by a full disk or a power loss: start afresh.
        path.unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    # Each change on its own: a transaction over the whole build would keep other builds waiting.
    database = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    database.executescript(_SCHEMA)
    return database


def _hash(tree: Tree, entry: Entry) -> tuple[str, os.stat_result]:
    fd = tree.open(entry.path)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise LayertoolError(f"{entry.path}: changed while {tree.what} was read; build again")
        digest = hashlib.sha256()
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
        return digest.hexdigest(), info
    except OSError as error:
        raise LayertoolError(f"{entry.path}: cannot read: {error.strerror}") from None
    finally:
        os.close(fd)


def _times(info: os.stat_result) -> tuple[int, int]:
    return info.st_mtime_ns, info.st_ctime_ns


def _int64(value: int) -> int:
    """Device and inode numbers are unsigned, sqlite's integers are not."""
    return value - (1 << 64) if value >= 1 << 63 else value
