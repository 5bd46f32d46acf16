"""Following a client's processor must never make the server wait for that client."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.drivers import Mounted

from unionfs import affinity


def test_a_client_that_cannot_be_looked_at_does_not_hold_up_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go = threading.Event()
    looked: list[int] = []

    def processor(pid: int) -> int:
        looked.append(pid)
        let_go.wait(30)
        return -1

    monkeypatch.setattr(affinity, "_processor", processor)
    follower = affinity.Follower()
    started = time.monotonic()
    for _ in range(100):
        follower.follow(os.getpid())
    assert time.monotonic() - started < 5
    let_go.set()
    assert looked in ([], [os.getpid()])


def test_the_server_moves_to_its_client_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = os.sched_getaffinity(0)
    chosen = max(everywhere)
    monkeypatch.setattr(affinity, "_processor", lambda _pid: chosen)
    follower = affinity.Follower()
    try:
        for _ in range(2):
            follower.follow(os.getpid())
        deadline = time.monotonic() + 10
        while os.sched_getaffinity(0) != {chosen} and time.monotonic() < deadline:
            time.sleep(0.001)
        assert os.sched_getaffinity(0) == {chosen}
        follower.release()
        assert os.sched_getaffinity(0) == everywhere
    finally:
        os.sched_setaffinity(0, everywhere)


@pytest.mark.mounted
@pytest.mark.needs("root", "busybox")
def test_programs_of_the_mount_start_while_the_server_looks_at_them(
    mount: Callable[..., Mounted], make_layer: Callable[[str, layers.Table], Path]
) -> None:
    """execve(2) of a file on the mount, again and again by a few processes at once."""
    base = make_layer("base", {})
    busybox = Path("/bin/busybox").read_bytes()
    for name in ("bin/sh", "bin/true"):
        layers.build(base, {name: layers.File(busybox, mode=0o755)})
    mounted = mount([base])
    script = "i=0; while [ $i -lt 300 ]; do /bin/true; echo $i > /file-$$; i=$((i+1)); done"
    command = ["chroot", str(mounted.point), "/bin/sh", "-c", script]
    running = [subprocess.Popen(command) for _ in range(3)]
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
