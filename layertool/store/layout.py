"""Where things lie below the store's root, and who makes the directories.

blobs/sha256/HEX          content as it is stored and pushed (layers, manifests, configs)
layers/sha256/HEX/        one unpacked layer by diffID: diff/ (the tree), index, meta
containers/ID/            upper/ work/ merged/ config.json lock
partial/HEX               downloads that were interrupted
build/NAME/               caches of the builder
tmp/                      what is not finished; cleaned when its owner is dead
locks/                    see locks.py
images.db                 see database.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from layertool.errors import StoreError
from layertool.oci.digest import Digest

_DIRECTORIES = (
    "blobs/sha256",
    "layers/sha256",
    "containers",
    "partial",
    "build",
    "tmp",
    "locks",
)


def default_root() -> Path:
    """`$LAYERTOOL_ROOT`, else the system's place for root, else the user's data directory."""
    chosen = os.environ.get("LAYERTOOL_ROOT")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0 and _is_system_root():
        return Path("/var/lib/layertool")
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(data) / "layertool"


def _is_system_root() -> bool:
    """Root of a user namespace is an ordinary user outside (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as table:
            return table.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    root: Path

    def make(self) -> None:
        """Create what is missing. Raises StoreError when the root cannot be used."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Unpacked layers hold setuid programs of any age: nobody else may reach them.
            if not any(self.root.iterdir()):
                self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in _DIRECTORIES:
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.root}: {error.strerror}: give another place with --root DIR"
            ) from None

    def blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / "sha256" / digest.hex

    def layer(self, diff_id: Digest) -> Path:
        return self.root / "layers" / "sha256" / diff_id.hex

    def partial(self, digest: Digest) -> Path:
        return self.root / "partial" / digest.hex

    def container(self, identifier: str) -> Path:
        return self.root / "containers" / identifier

    def lock(self, name: str) -> Path:
        return self.root / "locks" / name

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def database(self) -> Path:
        return self.root / "images.db"
