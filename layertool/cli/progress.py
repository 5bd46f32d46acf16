"""Progress of one stream: a bar on a terminal, one line elsewhere, nothing for what is quick."""

from __future__ import annotations

import io
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress

_QUICK = 1.0  # seconds: shorter work needs no progress, and no import of rich
_MB = 1_000_000


class Meter:
    """Shows how many of `total` bytes (None: unknown) have passed; a context manager.

    Streams that pass bytes are wrapped by `reading` or `writing`, and may be used in other threads.
    """

    def __init__(self, label: str, total: int | None, *, quiet: bool) -> None:
        self._label = label
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._start = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self._start
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and not self._quiet and seconds > _QUICK:
            print(f"{self._label}: {self._done / _MB:.1f} MB in {seconds:.1f} s", file=sys.stderr)

    def advance(self, count: int) -> None:
        """`count` more bytes have passed."""
        self._done += count
        if self._quiet or time.monotonic() - self._start < _QUICK or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = self._open_bar()
        self._bar.update(self._bar.task_ids[0], completed=self._done)

    def reading(self, stream: BinaryIO) -> BinaryIO:
        """`stream`, watched while it is read."""
        return cast(BinaryIO, _Reading(stream, self))

    def writing(self, stream: BinaryIO) -> BinaryIO:
        """`stream`, watched while it is written."""
        return cast(BinaryIO, _Writing(stream, self))

    def _open_bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        bar = Progress(
            *columns, TransferSpeedColumn(), console=Console(stderr=True), transient=True
        )
        bar.add_task(self._label, total=self._total)
        bar.start()
        return bar


class _Reading(io.RawIOBase):
    def __init__(self, stream: BinaryIO, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._meter.advance(len(data))
        return data


class _Writing(io.RawIOBase):
    def __init__(self, stream: BinaryIO, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        count = self._stream.write(data)
        self._meter.advance(count)
        return count
