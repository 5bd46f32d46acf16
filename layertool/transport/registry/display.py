"""A pull or push as people see it on stderr: bars on a terminal, a line a blob elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from layertool.transport.registry.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@contextmanager
def shown(*, quiet: bool, out: TextIO | None = None) -> Iterator[Progress]:
    """Progress on `out` (stderr) for as long as the block runs."""
    stream = out or sys.stderr
    if quiet:
        yield Silent()
    elif stream.isatty():
        with _rich_progress() as bars:
            yield _Bars(bars)
    else:
        yield _Lines(stream)


class _Lines:
    """What is done, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def start(self, name: str, size: int) -> None: ...

    def at(self, name: str, position: int) -> None: ...

    def done(self, name: str, outcome: str) -> None:
        self.note(f"{_short(name)}: {outcome}")

    def note(self, message: str) -> None:
        with self._lock:
            print(message, file=self._out, flush=True)


class _Bars:
    """A bar a blob, with what has moved and how fast."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, size: int) -> None:
        self._tasks[name] = self._bars.add_task(_short(name), total=size, outcome="")

    def at(self, name: str, position: int) -> None:
        self._bars.update(self._tasks[name], completed=position)

    def done(self, name: str, outcome: str) -> None:
        task = self._tasks[name]
        size = self._bars.tasks[self._bars.task_ids.index(task)].total
        self._bars.update(task, completed=size, outcome=outcome)

    def note(self, message: str) -> None:
        self._bars.console.print(message, markup=False, highlight=False)


def _rich_progress() -> RichProgress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TextColumn("{task.fields[outcome]}"),
        console=Console(stderr=True),
    )


def _short(name: str) -> str:
    return name.partition(":")[2][:12] or name
