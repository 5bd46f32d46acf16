"""The layertool program with a store of its own, run by a chosen account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxtest import Account

PROGRAM = Path(sys.executable).with_name("layertool")
Done = subprocess.CompletedProcess[str]


@dataclass
class Program:
    """`layertool(…)` runs a command to its end; `start` does not wait."""

    account: Account
    room: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def words(self, *arguments: str | Path) -> Sequence[str]:
        return [*self.account.prefix, str(PROGRAM), *map(str, arguments)]

    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.room / "runtime"),
            "LAYERTOOL_ROOT": str(self.room / "store"),
            "HOME": str(self.room),
            **self.environment,
        }

    def __call__(
        self, *arguments: str | Path, text: str | None = None, cwd: Path | None = None
    ) -> Done:
        return subprocess.run(
            self.words(*arguments),
            env=self.env(),
            cwd=cwd,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
        )

    def ok(self, *arguments: str | Path, text: str | None = None) -> str:
        """The standard output of a command that must succeed."""
        done = self(*arguments, text=text)
        assert done.returncode == 0, (arguments, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *arguments: str | Path) -> Any:
        """The parsed output of a command that must succeed."""
        return json.loads(self.ok(*arguments))

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(*arguments),
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def clean(self) -> None:
        """End all containers and take away all mounts that a failed test left."""
        listed = self("ps", "-a", "-q")
        if listed.returncode == 0 and listed.stdout:
            self("rm", "-f", *listed.stdout.split())
        for record in self.json("mounts", "--json"):
            if record["target"].startswith(str(self.room)):
                self("umount", "--lazy", record["target"])


def program(who: Account, room: Path) -> Program:
    """A program whose store, runtime and home directories lie in `room`."""
    runtime = room / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, who.uid, who.gid)
    os.chown(room, who.uid, who.gid)
    return Program(who, room)
