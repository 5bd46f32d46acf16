"""What a test needs from the machine, found out by trying it.

Each need is a function that answers None when the machine has it, else one line that says what is
missing and what to do. They are asked once a session.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

Need = Callable[[], str | None]


def _root() -> str | None:
    return None if os.geteuid() == 0 else "needs root: run it with sudo or as root"


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    return "needs an unprivileged user: scripts/test runs this suite as one"


def _fuse() -> str | None:
    if not Path("/dev/fuse").exists():
        return "needs /dev/fuse: modprobe fuse"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"needs /dev/fuse: {error.strerror}; chmod 0666 /dev/fuse, as udev does"
    return None


def _overlay() -> str | None:
    """A real trial mount: the module may be there and the file system of TMPDIR still refuse."""
    if os.geteuid() != 0:
        return "needs root to mount kernel overlayfs"
    with tempfile.TemporaryDirectory(prefix="overlay-probe-") as name:
        base = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (base / part).mkdir()
        options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, f"{base}/merged"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            return f"needs kernel overlayfs on {base.parent}: {done.stderr.strip()}"
        subprocess.run(["umount", f"{base}/merged"], check=True, timeout=30)
    return None


def _userns() -> str | None:
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        return None
    return f"needs user namespaces: unshare says {done.stderr.strip()}"


def _subids() -> str | None:
    command = ["unshare", "--user", "--map-root-user", "--map-auto", "--mount", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        return None
    return f"needs a range in /etc/subuid and newuidmap (package uidmap): {done.stderr.strip()}"


def _xattrs() -> str | None:
    with tempfile.NamedTemporaryFile(prefix="xattr-probe-") as file:
        try:
            os.setxattr(file.name, "user.probe", b"1")
        except OSError as error:
            return f"needs user xattrs on {tempfile.gettempdir()}: {error.strerror}"
    return None


def _online() -> str | None:
    """The Debian mirror, asked once; apt's own configuration says which one it is."""
    command = ["apt-get", "--print-uris", "-qq", "download", "hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode == 0 and done.stdout.startswith("'"):
        return None
    return "needs a Debian mirror that apt knows: apt-get update"


def program(name: str) -> Need:
    """The need of a program on PATH."""

    def missing() -> str | None:
        return None if shutil.which(name) else f"needs the program {name}: see scripts/packages.txt"

    return missing


NEEDS: dict[str, Need] = {
    "root": _root,
    "unprivileged": _unprivileged,
    "fuse": _fuse,
    "overlay": _overlay,
    "userns": _userns,
    "subids": _subids,
    "xattrs": _xattrs,
    "online": _online,
}


@functools.cache
def missing(need: str) -> str | None:
    """Why this machine lacks NEED, or None. A name that is not in NEEDS is a program."""
    return NEEDS.get(need, program(need))()
