"""images.db: what the store knows. Rows always point at complete content, never the reverse.

sqlite in WAL mode (readers never wait), each change one BEGIN IMMEDIATE transaction. Sizes are
bytes; `disk` is allocated bytes as du counts them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layertool.errors import StoreError

VERSION = 2
_BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    disk INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,      -- content of regular files, hard links once
    entries INTEGER NOT NULL,
    disk INTEGER NOT NULL        -- tree, index and meta
) WITHOUT ROWID;
CREATE TABLE layer_blobs (       -- the compressed forms a layer is known in
    diff_id TEXT NOT NULL REFERENCES layers ON DELETE CASCADE,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
CREATE TABLE images (
    digest TEXT PRIMARY KEY,     -- of the manifest
    id TEXT NOT NULL,            -- digest of the config, what docker calls the image ID
    media_type TEXT NOT NULL,
    created TEXT NOT NULL,       -- RFC 3339 from the config, '' when it has none
    compressed INTEGER NOT NULL, -- sum of the layer sizes in the manifest
    added REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX images_id ON images (id);
CREATE TABLE image_layers (      -- position 0 is the base
    image TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers,
    blob TEXT NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images
) WITHOUT ROWID;
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT REFERENCES images,
    created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE lease_items (
    lease TEXT NOT NULL,
    digest TEXT NOT NULL,        -- of a blob, or a diffID
    PRIMARY KEY (lease, digest)
) WITHOUT ROWID;
CREATE TABLE cache (             -- build steps: key -> the layer and config they made
    key TEXT PRIMARY KEY,
    step TEXT NOT NULL,          -- which step of which Dockerfile, to explain a miss
    diff_id TEXT REFERENCES layers,
    config BLOB NOT NULL,
    inputs BLOB NOT NULL,
    created REAL NOT NULL,
    used REAL NOT NULL,
    hits INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cache_step ON cache (step, used);
"""
_SINCE_2 = """
CREATE TABLE implicit (          -- directories of a layer that wait for the layers below
    diff_id TEXT NOT NULL REFERENCES layers ON DELETE CASCADE,
    path BLOB NOT NULL,
    PRIMARY KEY (diff_id, path)
) WITHOUT ROWID
"""

# WAL shares memory between processes, which network file systems do not offer.
_NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"})


class Database:
    """One connection a process, shared by its threads; opened again after a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone among the writers of all processes."""
        with self._lock, self._errors():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled it back already
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock, self._errors():
            return self._connect().execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            # A connection must not cross a fork: the child forgets it, the parent goes on with it.
            self._connection = self._open()
            self._pid = os.getpid()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        version = _version(connection)
        if version == 0:
            connection.execute(f"PRAGMA journal_mode = {self._journal_mode()}")
        if version in (0, 1):
            _upgrade(connection)
        elif version != VERSION:
            connection.close()
            raise StoreError(
                f"{self._path}: store format {version}, but this layertool knows {VERSION}: "
                "use the layertool that made it, or another --root"
            )
        return connection

    def _journal_mode(self) -> str:
        return "DELETE" if _filesystem(self._path.parent) in _NETWORK_FILESYSTEMS else "WAL"


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring a new database, or one of an older layertool, to this version's tables."""
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may have been faster
    statements = _SCHEMA.split(";\n") if version == 0 else []
    for statement in [*statements, _SINCE_2] if version < VERSION else []:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _filesystem(path: Path) -> str:
    """Type of the file system `path` lies on, from /proc/self/mountinfo (proc(5))."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            mount, _, filesystem = line.partition(" - ")
            if mount.split()[2] == wanted:
                return filesystem.split()[0]
    return ""
