"""A second process in a running container."""

from __future__ import annotations

import signal
import subprocess

import pytest
from sandboxtest import Sandbox

DOCKER_CAPABILITIES = "00000000a80425fb"


def test_it_sees_and_changes_the_same_files(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        done = sandbox.sh("hostname; echo x > /data/joined; ls /proc | grep -c '^2$'", join=init)
        assert (done.returncode, done.stdout) == (0, "box\n1\n"), done.stderr
        assert sandbox.sh("cat /data/joined", join=init).stdout == "x\n"
    assert (sandbox.upper / "data/joined").read_text() == "x\n"


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["/bin/sh", "-c", "exit 6"], 6),
        (["/bin/sh", "-c", "kill -9 $$"], 137),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_status(sandbox: Sandbox, argv: list[str], status: int) -> None:
    with sandbox.held() as init:
        done = sandbox.run(*argv, join=init)
    assert done.returncode == status, done.stderr


def test_it_may_do_no_more_than_the_first(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        done = sandbox.sh(
            "grep -E 'CapEff|CapBnd' /proc/self/status; ls /proc/self/fd;"
            " (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo worked",
            join=init,
        )
    words = done.stdout.split()
    assert words[1] == words[3] == DOCKER_CAPABILITIES
    assert words[4:] == ["0", "1", "2", "3"]


def test_another_user(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        done = sandbox.sh("id -u; id -G", join=init, user="app")
    if "single" in str(sandbox.account) or sandbox.account.name == "nobody":
        assert done.returncode == 125
    else:
        assert done.stdout.split() == ["1000", "1000", "2000"], done.stderr


def test_terminal(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        done = sandbox.sh("tty; exit 4", join=init, tty=True)
    assert (done.returncode, done.stdout.strip()) == (4, "/dev/pts/0"), done.stderr


def test_signals_are_forwarded(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
        started = sandbox.start("/bin/sh", "-c", script, join=init)
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        started.send_signal(signal.SIGTERM)
        out, error = started.communicate(timeout=30)
    assert (started.returncode, out) == (9, "got\n"), error


def test_it_ends_with_the_container(sandbox: Sandbox) -> None:
    with sandbox.held() as init:
        started = sandbox.start("/bin/sh", "-c", "echo ready; exec sleep 60", join=init)
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
    started.communicate(timeout=30)
    assert started.returncode == 137


def test_a_container_that_is_gone(sandbox: Sandbox) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = sandbox.run("true", join=gone.pid)
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
