"""Namespaces of our own: where mounts vanish with us, and where an ordinary user is root.

As root, `enter` gives the process a private mount namespace, so that no mount outlives it, even
after a crash. As anyone else it adds a user namespace: with the ranges of /etc/subuid when there
are any (through newuidmap, which is setuid), else with the one id that needs no permission.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from layertool.errors import LayertoolError
from layertool.sandbox import linux

Mapping = Literal["root", "ranges", "single"]

_WHOLE: Final = ["0", "0", "4294967295"]
_entered: Mapping | None = None


@dataclass(frozen=True, slots=True)
class SubordinateIds:
    """A range of ids that a user may map: `count` ids from `start`."""

    start: int
    count: int


def in_user_namespace() -> bool:
    """Whether our ids are mapped, so that `trusted.*` attributes and mknod are out of reach."""
    return Path("/proc/self/uid_map").read_text().split() != _WHOLE


def real_uid() -> int:
    """Our user as the host knows it, also after `enter`."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, outside, count = map(int, line.split())
        if inside <= os.geteuid() < inside + count:
            return outside + os.geteuid() - inside
    return os.geteuid()


def subordinate_ids(table: Path, user: str, uid: int) -> SubordinateIds | None:
    """The first range that subuid(5) grants to a user by name or number."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split("#", 1)[0].strip().split(":")
        if len(fields) == 3 and fields[0] in (user, str(uid)) and fields[1].isdigit():
            count = int(fields[2]) if fields[2].isdigit() else 0
            if count > 0:
                return SubordinateIds(int(fields[1]), count)
    return None


def enter() -> Mapping:
    """Move this process into namespaces of its own, once; returns how ids are mapped there.

    Call it early: a user namespace can only be made by a process with a single thread. Afterwards
    an ordinary user has uid 0, so anything that depends on the real user must be looked up before.
    Raises LayertoolError when the system forbids it.
    """
    global _entered
    if _entered is None:
        if os.geteuid() == 0:
            linux.unshare(linux.CLONE_NEWNS)
            _entered = "root"
        else:
            _entered = _enter_user_namespace()
        # Host unmounts must still reach us, or we would keep a removed disk busy.
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
    return _entered


def enter_for_files() -> None:
    """Enter where that helps an ordinary user to make, read and delete the files of images.

    Those of subordinate ids are within reach only there. And only there may the user, as root, look
    into files and directories of mode 0, as images and overlayfs have them. Where namespaces are
    forbidden a user without subordinate ids stays outside, where everything else works.
    """
    if os.geteuid() == 0:
        return
    if granted_ids(os.geteuid()) is not None or _is_allowed():
        enter()


def _is_allowed() -> bool:
    """Whether this user may make namespaces; tried by a child, as there is no way back."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _enter_user_namespace()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def granted_ids(uid: int) -> tuple[SubordinateIds, SubordinateIds] | None:
    """The user and group ids that a user may map, None unless there are both."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    uids = subordinate_ids(Path("/etc/subuid"), user, uid)
    gids = subordinate_ids(Path("/etc/subgid"), user, uid)
    return None if uids is None or gids is None else (uids, gids)


def _enter_user_namespace() -> Mapping:
    uid, gid = os.geteuid(), os.getegid()
    mapper = _IdMapper.prepare(uid)
    try:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    except OSError as error:
        raise LayertoolError(
            f"cannot make a user namespace: {error.strerror}; `layertool doctor` says what is"
            " missing"
        ) from None
    if mapper is not None and mapper.map_ids():
        return "ranges"
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    return "single"


class _IdMapper:
    """A child that stays outside and maps ranges into the namespace we are about to enter.

    newuidmap must run in the parent namespace, where it is setuid root, and after the unshare.
    """

    def __init__(self, go: int, pid: int) -> None:
        self._go = go
        self._pid = pid

    @classmethod
    def prepare(cls, uid: int) -> _IdMapper | None:
        """Fork the child; None when the user has no ranges."""
        granted = granted_ids(uid)
        if granted is None:
            return None
        uids, gids = granted
        target, gid = os.getpid(), os.getegid()
        ready, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(go)
                os.read(ready, 1)
                _run_mapper("newuidmap", target, uid, uids)
                _run_mapper("newgidmap", target, gid, gids)
                status = 0
            finally:
                os._exit(status)
        os.close(ready)
        return cls(go, pid)

    def map_ids(self) -> bool:
        """Let the child map; False when newuidmap is missing or refuses."""
        os.write(self._go, b"x")
        os.close(self._go)
        _, status = os.waitpid(self._pid, 0)
        if status == 0:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.setgroups([])
            return True
        if Path("/proc/self/uid_map").read_text().strip():
            raise LayertoolError(
                "newuidmap worked and newgidmap did not: /etc/subgid must list the user as"
                " /etc/subuid does"
            )
        return False


def _run_mapper(program: str, pid: int, own: int, ids: SubordinateIds) -> None:
    arguments = ["0", str(own), "1", "1", str(ids.start), str(ids.count)]
    subprocess.run(
        [program, str(pid), *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def join_user_namespace(pid: int) -> None:
    """Step into the user namespace of one of our own containers' processes, to act as its root.

    Does nothing when that is where we are. Raises OSError if the process is gone.
    """
    theirs = f"/proc/{pid}/ns/user"
    if os.stat(theirs).st_ino == os.stat("/proc/self/ns/user").st_ino:
        return
    fd = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(fd, linux.CLONE_NEWUSER)
    finally:
        os.close(fd)
