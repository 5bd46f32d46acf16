"""Where the builds of one account lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandboxtest import Account

from buildtest import Bench


@dataclass(frozen=True)
class Home:
    """A directory of one account, with a store that has the image `base`."""

    who: Account
    path: Path

    @property
    def store(self) -> Path:
        return self.path / "store"

    def bench(self, store: Path | None = None) -> Bench:
        """A bench with a context of its own, on the shared store or another one."""
        room = Path(tempfile.mkdtemp(prefix="room-", dir=self.path))
        context = room / "context"
        context.mkdir()
        for path in (room, context):
            os.chown(path, self.who.uid, self.who.gid)
        return Bench(store or room / "store", context, self.who.prefix, {"HOME": str(self.path)})


def remove(path: Path) -> None:
    """Delete a tree that may have files of a user's subordinate ids."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # those are only the namespace's root's to delete
        enter = ["unshare", "--user", "--map-root-user", "--map-auto"]
        subprocess.run([*enter, "rm", "-rf", str(path)], check=True, timeout=60)
