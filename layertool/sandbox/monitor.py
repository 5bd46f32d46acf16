"""Running a container from start to end: the process that does so holds the container's lock.

In the foreground that is the command itself. Detached, it is a process of its own. Either way the
output is kept in a log, and the mounts live in a private mount namespace: when the last process
ends, however it ends, nothing stays mounted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from layertool.errors import LayertoolError
from layertool.sandbox import logs, merge, namespaces, runner
from layertool.sandbox.process import FAILED, Process
from layertool.sandbox.running import Running
from layertool.sandbox.signals import Forwarder
from layertool.sandbox.spec import ContainerSpec
from layertool.sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layertool.store import Container


def run(container: Container, layers: Sequence[Path]) -> int:
    """Run a container in the foreground; returns its exit status in docker's numbers.

    What it writes is logged too, unless the log goes with the container at once (`--rm`): then it
    has our own standard output and error. `layers` are those of its image, top first. Raises
    LayertoolError if it cannot be started.
    """
    spec = ContainerSpec.from_dict(container.config)
    pipes = _Pipes() if not (spec.tty or spec.auto_remove) else None
    process = spec.process(**pipes.ends()) if pipes else spec.process()
    with (
        Forwarder() as forwarder,
        logs.Log(container.dir) as log,
        _started(container, layers, spec, process) as running,
    ):
        forwarder.to(running.send)
        if pipes:
            pipes.close_ends()
            logs.record(log, pipes.sources(), {"stdout": 1, "stderr": 2})
        status = runner.attend(running, process, None, shown=functools.partial(log.write, "stdout"))
    return _ended(container, status)


def detach(container: Container, layers: Sequence[Path], *, afterwards: Callable[[], None]) -> None:
    """Run a container in the background; returns once it runs.

    `afterwards` is called in the background when it has ended. Raises LayertoolError, with docker's
    exit code, if it cannot be started.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            _monitor(container, layers, writer, afterwards)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        report = json.loads(pipe.read() or b'{"error": "the monitor died", "status": 125}')
    if "error" in report:
        os.waitpid(pid, 0)
        raise LayertoolError(report["error"], exit_code=report["status"])


def _monitor(
    container: Container, layers: Sequence[Path], writer: int, afterwards: Callable[[], None]
) -> None:
    """The background process: no terminal, no streams of the caller, one report to it."""
    os.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        status = _run_logged(container, layers, lambda: _tell(writer, {}))
    except LayertoolError as error:
        _tell(writer, {"error": str(error), "status": error.exit_code})
        return
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        _tell(writer, {"error": f"cannot start it: {where}{error.strerror}", "status": FAILED})
        return
    except BaseException as error:  # a bug: the caller, who waits, must hear of it
        _tell(writer, {"error": f"the monitor failed: {error!r}", "status": FAILED})
        return
    _ended(container, status)
    afterwards()


def _tell(writer: int, report: dict[str, object]) -> None:
    """Report once and hang up; a second report finds nobody."""
    with contextlib.suppress(OSError):
        os.write(writer, json.dumps(report).encode())
        os.close(writer)


def _run_logged(container: Container, layers: Sequence[Path], started: Callable[[], None]) -> int:
    spec = ContainerSpec.from_dict(container.config)
    pipes = _Pipes() if not spec.tty else None
    process = spec.process(**pipes.ends()) if pipes else spec.process()
    with (
        Forwarder() as forwarder,
        logs.Log(container.dir) as log,
        _started(container, layers, spec, process) as running,
    ):
        started()
        forwarder.to(running.send)
        if pipes:
            pipes.close_ends()
            logs.record(log, pipes.sources())
        elif running.terminal is not None:
            logs.record(log, {running.terminal: "stdout"})
        return running.wait()


class _Pipes:
    """Where a payload without a terminal writes, and where its monitor reads."""

    def __init__(self) -> None:
        self._stdout, self._stdout_end = os.pipe()
        self._stderr, self._stderr_end = os.pipe()

    def ends(self) -> dict[str, int]:
        """For the payload."""
        return {"stdout": self._stdout_end, "stderr": self._stderr_end}

    def close_ends(self) -> None:
        """In the monitor, once the payload has them: or reading would never end."""
        os.close(self._stdout_end)
        os.close(self._stderr_end)

    def sources(self) -> dict[int, str]:
        """For the log."""
        return {self._stdout: "stdout", self._stderr: "stderr"}


@contextlib.contextmanager
def _started(
    container: Container, layers: Sequence[Path], spec: ContainerSpec, process: Process
) -> Iterator[Running]:
    """The container running, its lock held and its state written."""
    namespaces.enter()
    driver = merge.choose(spec.driver, layers, container.upper)
    with (
        container.lock(),
        merge.merged(
            layers,
            container.upper,
            container.work,
            container.merged,
            driver,
            init=spec.init_layer(),
        ) as root,
    ):
        running = runner.start(root, process)
        try:
            assert running.init_pid is not None
            State().begun(running.init_pid, driver).save(container.dir)
            yield running
        except BaseException:
            running.send(signal.SIGKILL)
            raise


def _ended(container: Container, status: int) -> int:
    State.load(container.dir, running=True).ended(status).save(container.dir)
    return status
