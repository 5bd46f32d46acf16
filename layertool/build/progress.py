"""What a build tells while it runs: to a person at a terminal, to a log, or to a program."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from layertool.build.text import human_bytes, printable

TAIL_LINES = 20
_LIVE_LINES = 6  # of each running step, on a terminal


@dataclass(frozen=True, slots=True)
class StepName:
    """A step as people see it."""

    stage: str
    number: int  # from 1
    total: int
    text: str

    @property
    def tag(self) -> str:
        """`[build 3/7]`."""
        return f"[{self.stage} {self.number}/{self.total}]"

    def __str__(self) -> str:
        return f"{self.tag} {self.text}"


class Reporter(Protocol):
    """Receives events, from any thread of a build. `why` is why the cache had nothing."""

    def started(self, step: StepName, why: str) -> None: ...
    def cached(self, step: StepName) -> None: ...
    def output(self, step: StepName, line: str) -> None: ...
    def finished(self, step: StepName, seconds: float, layer_bytes: int | None) -> None: ...
    def failed(self, step: StepName, tail: list[str]) -> None: ...
    def note(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class StepLog:
    """One step's line to the reporter; keeps the tail of its output for a failure."""

    reporter: Reporter
    step: StepName
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    _start: float = field(default_factory=time.monotonic)
    _told: bool = False

    def output(self, line: str) -> None:
        """A line that the step printed."""
        self.tail.append(line)
        self.reporter.output(self.step, line)

    def finished(self, layer_bytes: int | None) -> None:
        """The step is done; None when it made no layer."""
        self.reporter.finished(self.step, time.monotonic() - self._start, layer_bytes)

    def failed(self) -> None:
        """The step failed; told once, though a shell in it may need to tell early."""
        if self._told:
            return
        self._told = True
        self.reporter.failed(self.step, list(self.tail))


class Quiet:
    """`--quiet`: errors only, which include the tail of a failed step."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out

    def started(self, step: StepName, why: str) -> None: ...
    def cached(self, step: StepName) -> None: ...
    def output(self, step: StepName, line: str) -> None: ...
    def finished(self, step: StepName, seconds: float, layer_bytes: int | None) -> None: ...
    def note(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def close(self) -> None: ...

    def failed(self, step: StepName, tail: list[str]) -> None:
        print(f"{step}: failed", *tail, sep="\n", file=self._out, flush=True)


class Plain:
    """Lines for a log. Each names its step, as stages run side by side; output is indented."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._lock = threading.Lock()

    def _line(self, text: str) -> None:
        with self._lock:
            print(text, file=self._out, flush=True)

    def started(self, step: StepName, why: str) -> None:
        self._line(f"{step}\n  {step.tag} not cached: {why}")

    def cached(self, step: StepName) -> None:
        self._line(f"{step}  cached")

    def output(self, step: StepName, line: str) -> None:
        self._line(f"  {step.tag} | {printable(line)}")

    def finished(self, step: StepName, seconds: float, layer_bytes: int | None) -> None:
        size = "" if layer_bytes is None else f", {human_bytes(layer_bytes)}"
        self._line(f"  {step.tag} done in {seconds:.1f} s{size}")

    def failed(self, step: StepName, tail: list[str]) -> None:
        self._line(f"{step}: failed")
        if tail:
            self._line("the last lines of its output:")
        for line in tail:
            self._line(f"  | {printable(line)}")

    def note(self, text: str) -> None:
        self._line(text)

    def warning(self, text: str) -> None:
        self._line(f"warning: {text}")

    def close(self) -> None: ...


class Json:
    """One JSON object a line, with a stable `event` name."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._lock = threading.Lock()

    def _event(self, event: str, step: StepName | None, **fields: object) -> None:
        if step is not None:
            fields = {
                "stage": step.stage,
                "step": step.number,
                "steps": step.total,
                "instruction": step.text,
                **fields,
            }
        with self._lock:
            print(json.dumps({"event": event, **fields}), file=self._out, flush=True)

    def started(self, step: StepName, why: str) -> None:
        self._event("started", step, why=why)

    def cached(self, step: StepName) -> None:
        self._event("cached", step)

    def output(self, step: StepName, line: str) -> None:
        self._event("output", step, line=line)

    def finished(self, step: StepName, seconds: float, layer_bytes: int | None) -> None:
        self._event("finished", step, seconds=round(seconds, 3), bytes=layer_bytes)

    def failed(self, step: StepName, tail: list[str]) -> None:
        self._event("failed", step, tail=tail)

    def note(self, text: str) -> None:
        self._event("note", None, text=text)

    def warning(self, text: str) -> None:
        self._event("warning", None, text=text)

    def close(self) -> None: ...


class Terminal(Plain):
    """For a person: steps as lines that stay, the output of the running steps in a live area."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        super().__init__(out)
        self._make_text = Text
        self._console = Console(file=out, highlight=False)
        self._running: dict[StepName, deque[str]] = {}
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def _line(self, text: str) -> None:
        with self._lock:
            style = "yellow" if text.startswith("warning:") else ""
            self._console.print(self._make_text(text, style=style))

    def started(self, step: StepName, why: str) -> None:
        with self._lock:
            self._running[step] = deque(maxlen=_LIVE_LINES)
        super().started(step, why)

    def output(self, step: StepName, line: str) -> None:
        with self._lock:
            self._running.setdefault(step, deque(maxlen=_LIVE_LINES)).append(printable(line))
            self._show()

    def finished(self, step: StepName, seconds: float, layer_bytes: int | None) -> None:
        self._forget(step)
        super().finished(step, seconds, layer_bytes)

    def failed(self, step: StepName, tail: list[str]) -> None:
        self._forget(step)
        super().failed(step, tail)

    def _forget(self, step: StepName) -> None:
        with self._lock:
            self._running.pop(step, None)
            self._show()

    def _show(self) -> None:
        lines = [f"  | {line}" for output in self._running.values() for line in output]
        self._live.update(self._make_text("\n".join(lines), style="dim", overflow="ellipsis"))

    def close(self) -> None:
        self._live.stop()


def make_reporter(style: str, *, quiet: bool, out: TextIO = sys.stderr) -> Reporter:
    """The reporter for `--progress auto|plain|json`; auto is a live view on a terminal."""
    if quiet:
        return Quiet(out)
    if style == "json":
        return Json(out)
    if style == "auto" and out.isatty():
        return Terminal(out)
    return Plain(out)
