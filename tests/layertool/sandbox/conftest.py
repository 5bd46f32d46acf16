"""A sandbox to try things in: who runs it, on which union, with which runner, are parameters."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sandboxtest import BUSYBOX, Sandbox, account, busybox_root, require, room

__all__ = ["room"]

MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
def make_sandbox(room: Path) -> MakeSandbox:
    """make_sandbox(identity, driver, runner) -> Sandbox"""
    require(BUSYBOX)

    def make(identity: str = "root", driver: str = "kernel", runner: str = "auto") -> Sandbox:
        if driver == "fuse":
            require("fuse")
        if runner == "bubblewrap":
            require("bwrap")
        who = account(identity)
        if not who.is_root:
            require("userns")
        base = busybox_root(room / "base")
        mine = room / "mine"
        mine.mkdir()
        if os.geteuid() == 0 and not who.is_root:
            subprocess.run(["chown", "-R", f"{who.uid}:{who.gid}", str(room)], check=True)
        return Sandbox(who, mine, base, driver, runner)

    return make


@pytest.fixture(
    params=[
        ("root", "kernel", "bubblewrap"),
        ("root", "kernel", "native"),
        ("root", "fuse", "native"),
        ("single", "kernel", "bubblewrap"),
        ("single", "fuse", "native"),
        ("ranges", "kernel", "native"),
        ("ranges", "fuse", "bubblewrap"),
    ],
    ids="-".join,
)
def sandbox(request: pytest.FixtureRequest, make_sandbox: MakeSandbox) -> Sandbox:
    """One sandbox for each way to run: what holds here holds however a container is started."""
    return make_sandbox(*request.param)
