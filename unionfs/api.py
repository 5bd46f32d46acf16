"""Mounting from Python: ``with unionfs.mount(lowers=[...], mountpoint=...) as m: ...``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import UnionError
from .mounttable import mounted_device
from .options import MountOptions, render_options

AnyPath = str | bytes | Path
_UNMOUNT_SECONDS = 10
_LINGER_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


class Mount:
    """A mounted union; leaving the ``with`` block unmounts it.

    ``pid`` is the daemon, a child of this process.
    """

    def __init__(
        self, mountpoint: bytes, daemon: subprocess.Popen[bytes], below: str | None
    ) -> None:
        self.mountpoint = Path(os.fsdecode(mountpoint))
        self._path = mountpoint
        self._daemon = daemon
        self._below = below
        """What was mounted there before, and is again afterwards."""

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        return self._daemon.pid

    def unmount(self) -> None:
        """Unmount and wait for the daemon to end; does nothing when that has happened already.

        Asks the daemon first, which detaches even a mount that is in use.
        """
        if self._daemon.poll() is None:
            self._daemon.terminate()
            self._await_end()
        if self._daemon.stderr is not None:
            self._daemon.stderr.close()
        if self._is_mounted():
            _detach(self._path)

    def _await_end(self) -> None:
        """Until the daemon ends, or only goes on for files that are still open in the mount."""
        deadline = time.monotonic() + _UNMOUNT_SECONDS
        while self._daemon.poll() is None and time.monotonic() < deadline:
            if not self._is_mounted():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._daemon.wait(_LINGER_SECONDS)
                return
            time.sleep(0.005)
        if self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()

    def _is_mounted(self) -> bool:
        return mounted_device(self._path) not in (None, self._below)

    def __enter__(self) -> Mount:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unmount()


def _detach(path: bytes) -> None:
    """Take away what a dead daemon left mounted."""
    for command in ([b"fusermount3", b"-uz", path], [b"umount", b"-l", path]):
        with contextlib.suppress(OSError):
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return


def mount(
    *,
    lowers: Sequence[AnyPath],
    mountpoint: AnyPath,
    upper: AnyPath | None = None,
    work: AnyPath | None = None,
    die_with_caller: bool = False,
    **options: Any,
) -> Mount:
    """Mount *lowers* (top first) with *upper* and *work*, and return once the mount answers.

    *options* are further fields of MountOptions, as in ``redirect_dir="off"``. The daemon is a
    process of its own; with *die_with_caller* the kernel kills it when the calling thread ends,
    however it ends (for mounts in a private mount namespace). Raises UnionError with what the
    daemon said when it cannot mount, and TypeError for an option that does not exist.
    """
    wanted = MountOptions(
        lowers=tuple(_absolute(path) for path in lowers),
        upper=_absolute(upper) if upper is not None else None,
        work=_absolute(work) if work is not None else None,
        mountpoint=_absolute(mountpoint),
        **options,
    )
    return start(wanted, die_with_caller=die_with_caller)


def start(options: MountOptions, *, die_with_caller: bool = False) -> Mount:
    """Mount what *options* say; see mount()."""
    before = mounted_device(options.mountpoint)
    program = [sys.executable, "-m", "unionfs.cli", "-f", "-o"]
    daemon = subprocess.Popen(
        [
            *(os.fsencode(word) for word in program),
            render_options(options),
            b"--",
            options.mountpoint,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent if die_with_caller else None,
    )
    mounted = Mount(options.mountpoint, daemon, before)
    while mounted_device(options.mountpoint) in (None, before):
        if daemon.poll() is not None:
            raise UnionError(_last_words(daemon))
        time.sleep(0.005)
    # The kernel answers this only after the daemon has answered its first request.
    os.statvfs(options.mountpoint)
    return mounted


def _die_with_parent() -> None:
    """In the child: prctl(PR_SET_PDEATHSIG, SIGKILL), which survives exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _last_words(daemon: subprocess.Popen[bytes]) -> str:
    assert daemon.stderr is not None
    text = daemon.stderr.read().decode("utf-8", "replace").strip()
    daemon.stderr.close()
    return text.rpartition("\n")[2].removeprefix("unionfs: ") or "the daemon died while mounting"


def _absolute(path: AnyPath) -> bytes:
    return os.path.abspath(os.fsencode(path))
