"""Acting on containers from outside: list, signal, stop, wait, remove."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from layertool.errors import Conflict, LayertoolError, UsageError
from layertool.sandbox import mounts, namespaces
from layertool.sandbox.running import payload_pid, signal_payload
from layertool.sandbox.spec import ContainerSpec
from layertool.sandbox.state import State

if TYPE_CHECKING:
    from layertool.store import Container

_POLL: Final = 0.02  # seconds
#: How long the monitor may take to unmount and write the state after the last process ended.
_GRACE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of `ps`. `created` is ISO 8601, `status` a text for people."""

    id: str
    name: str
    image: str
    command: list[str]
    created: str
    state: str
    status: str
    exit_code: int | None
    pid: int | None
    labels: dict[str, str]
    mountpoint: str | None


def summary(container: Container) -> Summary:
    """What `ps` tells of a container."""
    spec = ContainerSpec.from_dict(container.config)
    known = state(container)
    return Summary(
        id=container.id,
        name=container.name,
        image=spec.image,
        command=spec.argv,
        created=str(container.config.get("created", "")),
        state=known.status,
        status=_status(known),
        exit_code=known.exit_code,
        pid=known.live_init(),
        labels=spec.labels,
        mountpoint=known.mountpoint,
    )


def state(container: Container) -> State:
    """The state, true also after a crash or a reboot."""
    written = State.load(container.dir, running=container.running)
    if written.status == "mounted" and not _is_mounted(written):
        return State(status="exited", exit_code=0, finished=written.started)
    return written


def _is_mounted(state: State) -> bool:
    return state.mountpoint is not None and mounts.find(Path(state.mountpoint)) is not None


def _status(state: State) -> str:
    if state.status == "running":
        return f"Up {_ago(state.started)}"
    if state.status == "exited":
        ended = f"Exited ({state.exit_code})"
        return f"{ended} {_ago(state.finished)} ago" if state.finished else f"{ended}, lost"
    if state.status == "mounted":
        return f"Mounted on {state.mountpoint}"
    return "Created"


def _ago(moment: str | None) -> str:
    if moment is None:
        return "for an unknown time"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} seconds"


def live_init(container: Container) -> int:
    """Pid 1 of a running container. Raises Conflict if it does not run."""
    init = state(container).live_init()
    if init is None:
        raise Conflict(f"container {container.name} is not running")
    return init


def signal_number(text: str) -> int:
    """`TERM`, `SIGTERM`, `15`, `RTMIN+3`. Raises UsageError."""
    bare = text.upper().removeprefix("SIG")
    if bare.isascii() and bare.isdigit() and 0 < int(bare) < signal.NSIG:
        return int(bare)
    if bare.startswith("RTMIN+") and bare[6:].isdigit():
        number = signal.SIGRTMIN + int(bare[6:])
        if number <= signal.SIGRTMAX:
            return number
    try:
        return signal.Signals[f"SIG{bare}"].value
    except KeyError:
        raise UsageError(f"{text}: no such signal") from None


def kill(container: Container, number: int) -> None:
    """Send a signal to the container's main process. Raises Conflict if it does not run."""
    if not _signal_from_inside(live_init(container), number):
        raise Conflict(f"container {container.name} is not running")


def _signal_from_inside(init: int, number: int) -> bool:
    """Signal a container's payload as root of its user namespace.

    By a child: who has joined one container's namespace cannot join another's.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            payload = payload_pid(init)
            if payload is not None:
                namespaces.join_user_namespace(payload)
                status = 0 if signal_payload(init, number) else 1
        finally:  # also when it ended while we looked
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def stop(container: Container, seconds: float) -> None:
    """Send the image's stop signal, and KILL when the container still runs after `seconds`.

    A container that does not run is fine. Raises LayertoolError if even KILL does not end it.
    """
    spec = ContainerSpec.from_dict(container.config)
    _kill_if_running(container, signal_number(spec.stop_signal))
    if not _await_end(container, seconds):
        end(container)


def end(container: Container) -> None:
    """End a container at once. Raises LayertoolError if that does not work."""
    _kill_if_running(container, signal.SIGKILL)
    if not _await_end(container, _GRACE):
        raise LayertoolError(f"container {container.name} does not end; try again")


def _kill_if_running(container: Container, number: int) -> None:
    with contextlib.suppress(Conflict):
        kill(container, number)


def wait(container: Container) -> int:
    """Wait until a container has ended; its exit status."""
    _await_end(container, None)
    return State.load(container.dir, running=False).exit_code or 0


def _await_end(container: Container, seconds: float | None) -> bool:
    deadline = None if seconds is None else time.monotonic() + seconds
    while container.running:
        if deadline is not None and time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def remove(container: Container, *, force: bool = False) -> None:
    """Remove a container with its changes. Raises Conflict if it runs, unless `force`."""
    if container.running:
        if not force:
            raise Conflict(
                f"container {container.name} is running: stop it first, or use rm --force"
            )
        end(container)
    known = state(container)
    if known.status == "mounted":
        raise Conflict(
            f"container {container.name} is mounted on {known.mountpoint}: umount it first"
        )
    namespaces.enter_for_files()
    container.remove()
