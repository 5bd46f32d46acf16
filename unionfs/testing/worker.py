"""The process that touches the mounts, so that a hanging one cannot hang the lab.

Run as ``python -m unionfs.testing.worker [userns] [PRELUDE]``. It reads one JSON request a line on
stdin ({"call": name, "args": {…}}) and answers one line on stdout. It is the parent of every
daemon it starts (a subreaper), so killing its children is a complete clean-up. PRELUDE, as
"FILE:FUNCTION,ARGUMENT", is run before our driver is loaded: that is how bugs are planted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from unionfs.testing import layers
from unionfs.testing import snapshot as trees
from unionfs.testing.crew import Crew

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36
MNT_DETACH = 2
MS_REC, MS_PRIVATE = 0x4000, 0x40000
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
DAEMON_EXIT_S = 5.0


def main(arguments: Sequence[str]) -> None:
    """Serve requests until stdin ends."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    isolate()
    if "userns" in arguments:
        enter_namespace()
    worker = Worker([a for a in arguments if a != "userns"])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"ok": getattr(worker, request["call"])(**request["args"])}
        except OSError as error:
            reply = {"failed": str(error)}
        except Refused as refused:
            reply = {"refused": str(refused)}
        print(json.dumps(reply), flush=True)
    worker.end()


def isolate() -> None:
    """Enter a mount namespace of its own.

    Whoever makes a namespace copies the mounts it sees, and a copy keeps a file system alive after
    its umount: so nobody gets to copy ours, and the copies we got of other unions are let go.
    """
    check(LIBC.unshare(CLONE_NEWNS), "unshare of mounts")
    check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        mounts = [line.split() for line in table]
    for fields in reversed(mounts):
        kind = fields[fields.index("-") + 1]
        if kind == "overlay" or kind.startswith("fuse"):
            LIBC.umount2(os.fsencode(fields[4]), MNT_DETACH)


def enter_namespace() -> None:
    """Become root of a new user and mount namespace; the parent maps the ids and says go."""
    os.setresgid(0, 0, 0)
    check(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare of a user namespace")
    print("unshared", flush=True)
    sys.stdin.readline()
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.setgroups([])
    check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make / private")


def check(result: int, what: str) -> None:
    """Raise OSError when a C call failed."""
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


class Refused(Exception):
    """A file system would not mount; the message is what it said."""


class Worker:
    """The requests, one method each."""

    def __init__(self, prelude: Sequence[str]) -> None:
        self.prelude = prelude[0] if prelude else ""
        self.main: Callable[[Sequence[str]], int] | None = None
        self.crews: dict[str, Crew] = {}
        self.daemons: dict[str, set[int]] = {}

    # --- directories ---

    def build(self, root: str, layer: str, family: str) -> None:
        """Make a layer directory from its JSON."""
        (entries,) = layers.decode(layer)
        layers.build(root, entries, family)

    def make_dirs(self, paths: list[str]) -> None:
        """mkdir -p."""
        for path in paths:
            os.makedirs(path, exist_ok=True)

    def touch(self, path: str) -> None:
        """Set the times to now."""
        os.utime(path)

    def remove(self, path: str) -> None:
        """rm -rf."""
        shutil.rmtree(path, ignore_errors=True)

    def snapshot(self, root: str) -> trees.Tree:
        """Walk a tree."""
        return trees.snapshot(root)

    def fingerprint(self, root: str) -> dict[str, list[int]]:
        """The marks of a lower layer."""
        return trees.fingerprint(root)

    def raw(self, path: str) -> trees.Record | None:
        """One object of a layer."""
        return trees.raw(path)

    # --- mounts ---

    def mount_kernel(self, options: str, mountpoint: str) -> None:
        """mount(2) of type overlay."""
        data = os.fsencode(options)
        if LIBC.mount(b"overlay", os.fsencode(mountpoint), b"overlay", 0, data):
            raise Refused(os.strerror(ctypes.get_errno()))

    def mount_program(self, argv: list[str], mountpoint: str, cwd: str | None = None) -> str:
        """Run a program that mounts and goes to the background; answers what it wrote to stderr."""
        with self.starting(mountpoint), tempfile.TemporaryFile() as stderr:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=cwd,
                check=False,
            )
            return verdict(done.returncode, stderr)

    def mount_union(self, arguments: list[str], mountpoint: str, cwd: str = "/") -> str:
        """Our own program, in a fork of this process that has it loaded already.

        It is the same main() with the same arguments; only the start of the interpreter is saved,
        which is most of the time that a mount takes.
        """
        program = self.load()
        with self.starting(mountpoint), tempfile.TemporaryFile() as stderr:
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    self.become_program(stderr.fileno())
                    os.chdir(cwd)
                    status = program(arguments)
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            _, result = os.waitpid(pid, 0)
            return verdict(os.waitstatus_to_exitcode(result), stderr)

    def become_program(self, stderr: int) -> None:
        """Let go, in a fork, of what belongs to the worker."""
        for crew in self.crews.values():
            for _, channel in crew.members.values():
                channel.close()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(stderr, 2)

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import our driver, once, after the prelude had its way with it."""
        if self.main is None:
            from unionfs import cli, session

            assert session
            if self.prelude:
                call, _, argument = self.prelude.partition(",")
                file, _, function = call.rpartition(":")
                runpy.run_path(file)[function](argument)
            self.main = cli.main
            # What is loaded now stays: the collection before each mount need not walk it again.
            gc.collect()
            gc.freeze()
        return self.main

    @contextlib.contextmanager
    def starting(self, mountpoint: str) -> Iterator[None]:
        """Note which processes a mount leaves behind."""
        before = children()
        yield
        self.daemons[mountpoint] = children() - before

    def unmount(self, mountpoint: str) -> None:
        """Unmount and wait for the daemon. When it is busy it is detached, and that is an error."""
        if LIBC.umount2(os.fsencode(mountpoint), 0):
            code = ctypes.get_errno()
            LIBC.umount2(os.fsencode(mountpoint), MNT_DETACH)
            raise OSError(code, f"umount {mountpoint}: {os.strerror(code)}")
        self.reap(mountpoint)

    def reap(self, mountpoint: str) -> None:
        """Wait until the daemon of an unmounted mountpoint has ended."""
        deadline, pause = time.monotonic() + DAEMON_EXIT_S, 0.001
        for pid in self.daemons.pop(mountpoint, set()):
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, f"daemon {pid} of {mountpoint} lives after umount")
                time.sleep(pause)
                pause = min(pause * 2, 0.05)

    def kill_daemon(self, mountpoint: str) -> None:
        """SIGKILL the daemon of a mountpoint, as a crash would, and take the dead mount away."""
        for pid in self.daemons.pop(mountpoint, set()):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        check(LIBC.umount2(os.fsencode(mountpoint), MNT_DETACH), f"umount {mountpoint}")

    # --- operations ---

    def perform(
        self, root: str, who: int, uid: int, gid: int, verb: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Let an actor of the mount do one operation."""
        crew = self.crews.setdefault(root, Crew(root))
        return crew.call((who, uid, gid), verb, arguments)

    def dismiss(self, root: str) -> None:
        """End the actors of a mount."""
        if root in self.crews:
            self.crews.pop(root).dismiss()

    def end(self) -> None:
        """Leave nothing behind, also when the lab was killed in the middle."""
        for mountpoint in list(self.daemons):
            with contextlib.suppress(OSError):
                self.kill_daemon(mountpoint)
        for crew in self.crews.values():
            crew.dismiss()


def children() -> set[int]:
    """The pids of this process's children, dead ones included."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as pids:
        return {int(pid) for pid in pids.read().split()}


def verdict(status: int, stderr: IO[bytes]) -> str:
    """What a mounting program said; Refused when it failed."""
    stderr.seek(0)
    said = stderr.read().decode(errors="replace").strip()
    if status:
        raise Refused(said or f"exit status {status}")
    return said


if __name__ == "__main__":
    main(sys.argv[1:])
