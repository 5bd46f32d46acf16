"""Containers in the store: a record, an upper and its work directory, a lock that tells the truth."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layertool.errors import Ambiguous, Conflict, NotFound, StoreError, UsageError
from layertool.oci.digest import Digest
from layertool.store.database import Database
from layertool.store.layout import Layout
from layertool.store.locks import is_held
from layertool.store.records import Image
from layertool.store.trees import remove_tree

_ADJECTIVES = (
    "brave", "calm", "clever", "eager", "fancy", "gentle", "happy", "jolly", "keen", "kind",
    "lively", "lucky", "merry", "nice", "proud", "quick", "quiet", "sharp", "shiny", "silly",
    "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty", "young", "zesty",
)  # fmt: skip
_NOUNS = (
    "otter", "heron", "maple", "cedar", "falcon", "badger", "beaver", "willow", "robin",
    "lynx", "marten", "osprey", "alder", "hazel", "salmon", "plover", "thistle", "juniper",
    "sparrow", "dolphin", "gecko", "kestrel", "lapwing", "magpie", "puffin", "raven",
)  # fmt: skip
_ASKING_SECONDS = 0.1
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Container:
    """One container. `config` is its record (JSON); `save` writes it back in one step."""

    def __init__(self, containers: Containers, row: dict[str, Any], config: dict[str, Any]) -> None:
        self._containers = containers
        self.id: str = row["id"]
        self.name: str = row["name"]
        self.image_id: Digest | None = Digest(row["image_id"]) if row["image_id"] else None
        self.created: float = row["created"]
        """Seconds since the epoch."""
        self.config = config
        self.dir: Path = containers.layout.container(self.id)

    @property
    def upper(self) -> Path:
        """The container's own changes: the writable layer."""
        return self.dir / "upper"

    @property
    def work(self) -> Path:
        return self.dir / "work"

    @property
    def merged(self) -> Path:
        """Where the union is mounted while the container runs."""
        return self.dir / "merged"

    @property
    def running(self) -> bool:
        """Whether somebody holds the lock; true also right after a crash of that somebody."""
        return is_held(self.dir / "lock")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the container while it runs. Raises `Conflict` when it does already."""
        fd = os.open(self.dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock_soon(fd):
                raise Conflict(f"container {self.name} is running: stop it first")
            yield
        finally:
            os.close(fd)

    def save(self) -> None:
        """Write `config`, replacing the old record in one step."""
        path = self.dir / "config.json"
        temporary = path.with_suffix(".new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.config, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)

    def remove(self) -> None:
        """Delete the container with its changes."""
        self._containers.remove(self)


class Containers:
    """All containers of a store."""

    def __init__(self, layout: Layout, database: Database) -> None:
        self.layout = layout
        self._database = database

    def create(self, image: Image | None, *, name: str | None, config: dict[str, Any]) -> Container:
        """A new container.

        Raises `Conflict` when the name is taken, `UsageError` for a bad one, `StoreError` when
        there is no room for it.
        """
        if name is not None:
            _check_name(name)
        identifier = secrets.token_hex(32)
        directory = self.layout.container(identifier)
        chosen = name or self._free_name()
        image_digest = None if image is None else image.manifest_digest
        try:
            with self._database.transaction() as connection:
                self._refuse_taken(connection, chosen)
                connection.execute(
                    "INSERT INTO containers VALUES (?, ?, ?, ?)",
                    (identifier, chosen, image_digest, time.time()),
                )
                directory.mkdir(mode=0o711)
                for part in ("upper", "work", "merged"):
                    (directory / part).mkdir(mode=0o755)
                row = self._rows(connection, "WHERE containers.id = ?", identifier)[0]
                container = Container(self, row, dict(config))
                container.save()
        except BaseException as error:
            remove_tree(directory)
            if isinstance(error, OSError):
                raise StoreError(f"{directory}: {error.strerror}") from None
            raise
        return container

    def _refuse_taken(self, connection: sqlite3.Connection, name: str) -> None:
        taken = connection.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
        if taken is not None:
            raise Conflict(
                f"the name {name} is in use by container {taken['id'][:12]}: "
                f"remove it (layertool rm {name}) or choose another"
            )

    def all(self) -> list[Container]:
        """Newest first."""
        return [self._load(row) for row in self._rows(None, "ORDER BY containers.created DESC")]

    def find(self, name_or_id: str) -> Container:
        """By name, id, or a prefix of the id. Raises `NotFound` or `Ambiguous`."""
        rows = self._rows(
            None, "WHERE containers.name = ? OR containers.id = ?", name_or_id, name_or_id
        )
        if not rows and name_or_id and set(name_or_id) <= set("0123456789abcdef"):
            rows = self._rows(
                None, "WHERE substr(containers.id, 1, ?) = ?", len(name_or_id), name_or_id
            )
        if not rows:
            raise NotFound(f"no such container: {name_or_id}: see layertool ps -a")
        if len(rows) > 1:
            raise Ambiguous(f"{name_or_id} fits {len(rows)} containers: give more of the id")
        return self._load(rows[0])

    def remove(self, container: Container) -> None:
        if container.running:
            raise Conflict(f"container {container.name} is running: stop it first")
        try:
            self._forget(container)
        except StoreError:
            # A full disk has no room for the change: what the container takes must go first.
            _remove_directory(container)
            self._forget(container)
        _remove_directory(container)

    def _forget(self, container: Container) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))

    def _rows(self, connection: Any, clause: str, *parameters: object) -> list[dict[str, Any]]:
        sql = (
            "SELECT containers.*, images.id AS image_id FROM containers "
            "LEFT JOIN images ON images.digest = containers.image " + clause
        )
        if connection is not None:
            rows = connection.execute(sql, parameters).fetchall()
        else:
            rows = self._database.query(sql, parameters)
        return [dict(row) for row in rows]

    def _load(self, row: dict[str, Any]) -> Container:
        path = self.layout.container(row["id"]) / "config.json"
        try:
            config = json.loads(path.read_bytes())
        except (OSError, ValueError):
            config = {}  # killed before the record was written: it can still be removed
        return Container(self, row, config)

    def _free_name(self) -> str:
        taken = {row["name"] for row in self._database.query("SELECT name FROM containers")}
        for _ in range(100):
            name = f"{random.choice(_ADJECTIVES)}_{random.choice(_NOUNS)}"
            if name not in taken:
                return name
        return f"{name}_{secrets.token_hex(3)}"


def _remove_directory(container: Container) -> None:
    try:
        remove_tree(container.dir)
    except OSError as error:
        raise StoreError(f"{container.dir}: {error.strerror}: remove it by hand") from None


def _lock_soon(fd: int) -> bool:
    """Lock, waiting out somebody who only asks whether the lock is held; False for a holder."""
    deadline = time.monotonic() + _ASKING_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)


def _check_name(name: str) -> None:
    if not name or not set(name) <= _NAME_CHARS or not name[0].isalnum():
        raise UsageError(
            f"container name {name!r}: only letters, digits, and then also _ . - are allowed"
        )
