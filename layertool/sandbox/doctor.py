"""What this machine and this user can do, found by trying, and the fix for each lack.

Whatever changes a process for good (namespaces, mounts) is tried in a forked child.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from layertool.errors import LayertoolError
from layertool.sandbox import bubblewrap, linux, namespaces, overlay

_SECONDS: Final = 30
_MESSAGE_BYTES: Final = 4096
_NOBODY: Final = 65534


@dataclass(frozen=True, slots=True)
class Check:
    """One ability: `detail` says what was found, `fix` what to do when it is missing.

    Without an `essential` one containers cannot be run; the others only widen what works.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    essential: bool = False


def examine(on: Path) -> Iterator[Check]:
    """All checks; `on` is the directory of the store, whose file system matters."""
    kernel = _kernel_overlay(on)
    fuse = _fuse_union()
    yield kernel
    yield fuse
    yield Check(
        "union",
        kernel.ok or fuse.ok,
        "a merged view can be mounted" if kernel.ok or fuse.ok else "no union works here",
        "make kernel overlayfs or FUSE work, see above",
        essential=True,
    )
    yield _fuse_device()
    yield _fusermount()
    yield _user_namespaces()
    yield _subordinate_ids()
    yield _bubblewrap()
    yield _cgroups()


def _kernel_overlay(on: Path) -> Check:
    def attempt() -> str | None:
        namespaces.enter()
        return overlay.why_not(on)

    why = _in_child(attempt)
    if why is None:
        return Check("kernel overlayfs", True, f"works on {on}")
    fix = "modprobe overlay; the store must lie on ext4, xfs, btrfs or tmpfs, not on a union"
    if os.geteuid() != 0:
        fix += "; an ordinary user needs Linux 5.11 and user namespaces"
    return Check("kernel overlayfs", False, why, fix)


def _fuse_union() -> Check:
    def attempt() -> str | None:
        import unionfs

        namespaces.enter()
        with tempfile.TemporaryDirectory(prefix="layertool-doctor-") as name:
            lower, at = Path(name, "lower"), Path(name, "at")
            lower.mkdir()
            at.mkdir()
            (lower / "file").touch()
            try:
                with unionfs.mount(lowers=[lower], mountpoint=at, die_with_caller=True):
                    return None if (at / "file").exists() else "the mount shows nothing"
            except unionfs.UnionError as error:
                return str(error)

    why = _in_child(attempt)
    if why is None:
        return Check("fuse union", True, "unionfs mounts")
    return Check("fuse union", False, why, "see /dev/fuse below")


def _fuse_device() -> Check:
    path = "/dev/fuse"
    if not os.path.exists(path):
        return Check("/dev/fuse", False, "does not exist", "modprobe fuse")
    if not os.access(path, os.R_OK | os.W_OK):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        return Check("/dev/fuse", False, f"mode {mode:04o} keeps us out", f"chmod 0666 {path}")
    return Check("/dev/fuse", True, "can be opened")


def _fusermount() -> Check:
    name = "fusermount3"
    program = shutil.which(name)
    if program is None:
        return Check(name, False, "not installed", "apt-get install fuse3")
    if not os.stat(program).st_mode & stat.S_ISUID:
        return Check(name, False, f"{program} is not setuid", f"chmod u+s {program}")
    return Check(name, True, f"{program} (ordinary users can `mount`)")


def _user_namespaces() -> Check:
    name = "user namespaces"

    def attempt() -> str | None:
        if os.geteuid() == 0:
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            linux.set_dumpable(True)
        namespaces.enter()
        return None

    why = _in_child(attempt)
    if why is None:
        return Check(name, True, "an ordinary user can make one")
    return Check(name, False, why, _user_namespace_fix())


def _user_namespace_fix() -> str:
    for setting, wanted in (
        ("kernel.unprivileged_userns_clone", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
        ("user.max_user_namespaces", "10000"),
    ):
        path = Path("/proc/sys", *setting.split("."))
        if path.exists() and _forbids(path.read_text().strip(), wanted):
            return f"sysctl {setting}={wanted}"
    return "the machine (or the container around us) forbids them by seccomp or policy"


def _forbids(value: str, wanted: str) -> bool:
    return value != wanted if wanted in ("0", "1") else value == "0"


def _subordinate_ids() -> Check:
    name = "subordinate ids"
    if os.geteuid() == 0:
        return Check(name, True, "root needs none")
    uid = os.geteuid()
    user = pwd.getpwuid(uid).pw_name
    for table in ("/etc/subuid", "/etc/subgid"):
        if namespaces.subordinate_ids(Path(table), user, uid) is None:
            return Check(
                name,
                False,
                f"{table} grants {user} nothing: all files belong to one user inside",
                f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    for program in ("newuidmap", "newgidmap"):
        if shutil.which(program) is None:
            return Check(name, False, f"{program} is not installed", "apt-get install uidmap")
    why = _in_child(_ranges_missing)
    if why is not None:
        return Check(name, False, why, "newuidmap and newgidmap must be setuid root")
    return Check(name, True, "a range of ids can be mapped")


def _ranges_missing() -> str | None:
    return None if namespaces.enter() == "ranges" else "newuidmap refuses"


def _bubblewrap() -> Check:
    name = "bubblewrap"
    program = bubblewrap.program()
    fix = "apt-get install bubblewrap; without it containers run in namespaces of our own making"
    if program is None:
        return Check(name, False, "bwrap is not installed", fix)
    done = subprocess.run(
        [program, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        return Check(name, False, done.stderr.strip().rpartition("\n")[2], fix)
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    return Check(name, True, version.stdout.strip())


def _cgroups() -> Check:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return Check("cgroups", True, "version 2 (not used: layertool sets no limits)")
    if os.path.isdir("/sys/fs/cgroup"):
        return Check("cgroups", True, "version 1 or hybrid (not used: layertool sets no limits)")
    return Check("cgroups", True, "none (not needed)")


def _in_child(attempt: Callable[[], str | None]) -> str | None:
    """Run an attempt in a forked child; None if it worked, else why it did not."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        why: str | None = "failed"
        try:
            why = attempt()
        except (LayertoolError, OSError) as error:
            why = str(error)
        finally:
            os.write(writer, (why or "").encode()[:_MESSAGE_BYTES])
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        why = pipe.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return why or None
