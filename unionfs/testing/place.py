"""Where a driver lives: this machine as root, or root of a user namespace. Talks to the worker.

The worker may hang in a system call on a broken mount. Then `Hung` is raised here after a time
limit, the worker and all it started are killed, and the mounts are gone with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any

from unionfs.errors import UnionError

USERNS_FIRST_ID = 100_000
USERNS_IDS = 65_536
FUSE_CONNECTIONS = "/sys/fs/fuse/connections"


class Hung(UnionError):
    """A call on a mount did not return in time."""


class Refused(UnionError):
    """A driver would not mount; the message is what it said."""


class Place:
    """One worker process, which mounts below the directory root in a mount namespace of its own.

    name is "host" or "userns"; patience is the time limit of each request in seconds.
    """

    def __init__(self, name: str, root: str, *, patience: float = 20.0, prelude: str = "") -> None:
        self.name = name
        self.root = root
        self.patience = patience
        self.prelude = prelude
        self.lives = 0  # how many workers were killed; their mounts are gone
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    @property
    def family(self) -> str:
        """The xattr family of overlay marks here."""
        return "user" if self.name == "userns" else "trusted"

    @property
    def first_id(self) -> int:
        """The id outside of what is root here."""
        return USERNS_FIRST_ID if self.name == "userns" else 0

    def call(self, name: str, **arguments: Any) -> Any:
        """Have the worker do something. Raises Hung, Refused, or OSError for what failed there."""
        process = self._process or self._start()
        assert process.stdin is not None
        request = json.dumps({"call": name, "args": arguments}) + "\n"
        process.stdin.write(request.encode())
        process.stdin.flush()
        try:
            reply = json.loads(self._line(name))
        except KeyboardInterrupt:
            # Nobody knows what it was about to mount.
            self.kill()
            raise
        if "refused" in reply:
            raise Refused(reply["refused"])
        if "failed" in reply:
            raise OSError(reply["failed"])
        return reply["ok"]

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [word for word in (self.prelude,) if word]
        if self.name == "userns":
            arguments.insert(0, "userns")
        process = subprocess.Popen(
            [sys.executable, "-m", "unionfs.testing.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the lab alone, which then has the worker clean up.
            start_new_session=True,
        )
        self._process = process
        if self.name == "userns":
            self._line("unshare")
            self._map_ids(process.pid)
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return process

    def _map_ids(self, pid: int) -> None:
        for kind in ("uid", "gid"):
            with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as table:
                table.write(f"0 {USERNS_FIRST_ID} {USERNS_IDS}")

    def _line(self, what: str) -> bytes:
        """One line of the worker's stdout, waiting no longer than patience."""
        process = self._process
        assert process is not None and process.stdout is not None
        fd = process.stdout.fileno()
        while b"\n" not in self._pending:
            ready, _, _ = select.select([fd], [], [], self.patience)
            if not ready:
                self.kill()
                raise Hung(f"{what} did not return within {self.patience:.0f} s")
            data = os.read(fd, 1 << 20)
            if not data:
                self.kill()
                raise UnionError(f"the lab's worker died during {what}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the worker with all that it started; its mount namespace ends with it.

        A process inside a system call on a hanging mount ends only when the FUSE connection is
        aborted, or when the daemon is killed and so closes /dev/fuse.
        """
        process, self._process, self._pending = self._process, None, b""
        if process is None:
            return
        abort_connections(process.pid, self.root)
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Its group too: a daemon that was forked since then is still in it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A worker in an uninterruptible sleep is given up to init: the lab itself must not hang.
        reaper = threading.Thread(target=process.wait, daemon=True)
        reaper.start()
        reaper.join(self.patience)
        self.lives += 1

    def close(self) -> None:
        """End the worker in peace."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            self._process = process
            self.kill()


def descendants(pid: int) -> list[int]:
    """All processes below pid, itself left out."""
    found: list[int] = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            pids = [int(word) for word in children.read().split()]
    except OSError:
        return found
    for child in pids:
        found += [child, *descendants(child)]
    return found


def abort_connections(pid: int, below: str) -> None:
    """Tell the kernel to give up the FUSE mounts below a directory in a process's namespace.

    Found in the mount table, without touching them (Documentation/filesystems/fuse.rst).
    """
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            mounts = [line.split() for line in table]
        for fields in mounts:
            minor = fields[2].partition(":")[2]
            switch = f"{FUSE_CONNECTIONS}/{minor}/abort"
            if fields[4].startswith(below) and os.path.exists(switch):
                with open(switch, "w", encoding="ascii") as out:
                    out.write("1")
