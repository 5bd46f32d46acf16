"""A sandbox to try things in: who runs it, on which union, with which runner, are parameters."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fstest import needs

ACTOR = Path(__file__).with_name("actor.py")
BUSYBOX = "/bin/busybox"
APPLETS = "sh ls cat id ps sleep echo rm mkdir mv touch hostname kill mount mknod head grep stat"
APPLETS += " ifconfig tty true chmod su env readlink find wc stty"
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1000:\nextra:x:2000:app\n"


@dataclass(frozen=True)
class Account:
    """Who starts the container: root, a user with one id, a user with subordinate ranges."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        return self.uid == 0


def account(kind: str) -> Account:
    """The account for a kind of identity; skips the test when the machine has none."""
    if kind == "root":
        require("root")
        return Account("root", 0, 0)
    if os.geteuid() != 0:
        if kind == "ranges":
            require("subids")
        return Account(pwd.getpwuid(os.getuid()).pw_name, os.getuid(), os.getgid())
    user = pwd.getpwnam("nobody") if kind == "single" else user_with_ranges()
    prefix = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return Account(user.pw_name, user.pw_uid, user.pw_gid, prefix)


def user_with_ranges() -> pwd.struct_passwd:
    """An ordinary user of this machine whom /etc/subuid and /etc/subgid grant ranges."""
    granted = [
        {line.split(":")[0] for line in Path(table).read_text().splitlines() if ":" in line}
        for table in ("/etc/subuid", "/etc/subgid")
        if Path(table).exists()
    ]
    for user in pwd.getpwall():
        if (
            user.pw_uid != 0
            and len(granted) == 2
            and all(user.pw_name in names for names in granted)
        ):
            return user
    pytest.skip("needs a user with ranges in /etc/subuid and /etc/subgid: scripts/test makes one")


def require(need: str) -> None:
    reason = needs.missing(need)
    if reason is not None:
        pytest.skip(reason)


@dataclass
class Sandbox:
    """`base` is the image's only layer: busybox, two accounts, a file or two."""

    account: Account
    room: Path
    base: Path
    driver: str = "kernel"
    runner: str = "auto"
    layers: list[Path] = field(default_factory=list)

    @property
    def upper(self) -> Path:
        return self.room / "upper"

    def start(
        self,
        *argv: str,
        feed: int | None = subprocess.DEVNULL,
        keep: Sequence[int] = (),
        terminal: int | None = None,
        join: int | None = None,
        **process: Any,
    ) -> subprocess.Popen[str]:
        """Start it; `feed` is our side of its input, `keep` are descriptors to leak into it.

        With `terminal` all three streams are that. With `join` it starts in the container of that
        pid 1.
        """
        settings = {"argv": list(argv), "hostname": "box", "runner": self.runner, **process}
        request: dict[str, Any] = {
            "room": str(self.room),
            "layers": [str(layer) for layer in [*self.layers, self.base]],
            "driver": self.driver,
            "process": settings,
        }
        if join is not None:
            request["join"] = join
        return subprocess.Popen(
            [*self.account.prefix, sys.executable, str(ACTOR), json.dumps(request)],
            stdin=feed if terminal is None else terminal,
            pass_fds=keep,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
        )

    def run(self, *argv: str, **process: Any) -> subprocess.CompletedProcess[str]:
        started = self.start(*argv, **process)
        try:
            out, err = started.communicate(timeout=60)
        finally:
            started.kill()
        return subprocess.CompletedProcess(argv, started.returncode, out, err)

    @contextlib.contextmanager
    def held(self, **process: Any) -> Iterator[int]:
        """A container that does nothing until the context ends; its pid 1."""
        started = self.start(
            "/bin/sh", "-c", "echo up; exec cat", feed=subprocess.PIPE, stdin=True, **process
        )
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "up\n"
            yield self._init_pid()
        finally:
            started.communicate(timeout=60)

    def _init_pid(self) -> int:
        """The actor writes it once it knows, which may be after the payload's first word."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                return int((self.room / "init").read_text())
            time.sleep(0.01)
        raise AssertionError("the container did not start")

    def sh(self, script: str, **process: Any) -> subprocess.CompletedProcess[str]:
        return self.run("/bin/sh", "-c", script, **process)


def busybox_root(at: Path) -> Path:
    """A small root directory with a static shell in it."""
    for name in ("bin", "etc", "root", "data", "home/app", "tmp"):
        (at / name).mkdir(parents=True)
    (at / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, at / "bin/busybox")
    for applet in APPLETS.split():
        (at / "bin" / applet).symlink_to("busybox")
    (at / "etc/passwd").write_text(PASSWD)
    (at / "etc/group").write_text(GROUP)
    (at / "data/file").write_text("from the image\n")
    return at


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that every user may reach: pytest's own is for its owner only."""
    path = Path(tempfile.mkdtemp(prefix="layertool-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    # A user's container may have left directories that only it could delete.
    shutil.rmtree(path, ignore_errors=True)
