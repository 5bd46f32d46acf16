"""Choosing a runner, and running one process to its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from layertool.errors import LayertoolError
from layertool.sandbox import bubblewrap, native, plan, terminal
from layertool.sandbox.process import FAILED, Process
from layertool.sandbox.running import Running
from layertool.sandbox.signals import Forwarder


def start(rootfs: Path, process: Process) -> Running:
    """Start a process in `rootfs` with the runner it asks for; `auto` prefers bubblewrap.

    Raises LayertoolError with docker's exit codes when it cannot be started.
    """
    ready = plan.prepare(rootfs, process)
    if process.runner == "bubblewrap" and not bubblewrap.can_run(ready):
        raise LayertoolError(
            "bubblewrap is not installed, or cannot do this: a terminal, or a user other than"
            " root; use the native runner",
            exit_code=FAILED,
        )
    if process.runner != "native" and bubblewrap.can_run(ready):
        return bubblewrap.start(ready)
    return native.start(ready)


def run(rootfs: Path, process: Process) -> int:
    """Run a process in `rootfs` in the foreground and return its exit status, docker's numbers.

    Signals that we get are passed on (in the main thread, where Python allows it). With `tty` our
    standard input and output are joined to the container's terminal.
    Raises LayertoolError when the process cannot be started.
    """
    in_main = threading.current_thread() is threading.main_thread()
    with Forwarder() if in_main else nullcontext() as forwarder:
        return attend(start(rootfs, process), process, forwarder)


def attend(
    running: Running,
    process: Process,
    forwarder: Forwarder | None,
    *,
    shown: Callable[[bytes], None] | None = None,
) -> int:
    """Stay with a started process until it ends: signals, terminal, exit status.

    `shown` is told what its terminal shows.
    """
    if forwarder is not None:
        forwarder.to(running.send)
    if running.terminal is not None:
        try:
            terminal.relay(running.terminal, 0 if process.stdin else None, 1, shown)
        finally:
            os.close(running.terminal)
    return running.wait()
