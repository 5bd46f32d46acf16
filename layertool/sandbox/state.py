"""What became of a container: written by its monitor, believed only while the monitor lives.

A monitor holds the container's lock for as long as the container runs, and the kernel drops the
lock however the monitor ends. So `running` in the file and a free lock mean a crash.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from layertool.sandbox.running import start_time

Status = Literal["created", "running", "exited", "mounted"]

#: The status of a container whose monitor was killed: its processes were killed with it.
_LOST: Final = 137
_FILE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class State:
    """`init_pid` and `init_start` together name pid 1 of a running container for ever.

    Times are ISO 8601 in UTC. `mountpoint` is where a `mount --rw` shows it.
    """

    status: Status = "created"
    init_pid: int | None = None
    init_start: int | None = None
    exit_code: int | None = None
    started: str | None = None
    finished: str | None = None
    driver: str | None = None
    mountpoint: str | None = None

    @classmethod
    def load(cls, directory: Path, *, running: bool) -> State:
        """The state of the container in `directory`; `running` says whether its lock is held."""
        try:
            record = json.loads((directory / _FILE).read_text())
        except (OSError, ValueError):
            return cls()
        if not isinstance(record, dict):
            return cls()
        known = {entry.name for entry in dataclasses.fields(cls)}
        values: dict[str, Any] = {key: value for key, value in record.items() if key in known}
        state = cls(**values)
        if state.status == "running" and not running:
            return dataclasses.replace(state, status="exited", exit_code=_LOST)
        return state

    def save(self, directory: Path) -> None:
        """Write it, atomically: a reader sees the old state or the new one."""
        temporary = directory / f"{_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(dataclasses.asdict(self)))
        temporary.replace(directory / _FILE)

    def begun(self, init_pid: int, driver: str) -> State:
        """The state once the payload runs."""
        return State(
            status="running",
            init_pid=init_pid,
            init_start=start_time(init_pid),
            started=now(),
            driver=driver,
        )

    def ended(self, exit_code: int) -> State:
        """The state once the payload has ended."""
        return dataclasses.replace(self, status="exited", exit_code=exit_code, finished=now())

    def live_init(self) -> int | None:
        """Pid 1 of the container, if that very process is still there."""
        if self.status != "running" or self.init_pid is None:
            return None
        return self.init_pid if start_time(self.init_pid) == self.init_start else None


def now() -> str:
    """The time in the form that image configs and docker use."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
