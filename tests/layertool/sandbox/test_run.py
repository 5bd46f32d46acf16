"""What a process sees and may do, the same with every union, runner and kind of user."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from sandboxtest import Sandbox

DOCKER_CAPABILITIES = "00000000a80425fb"

EXIT_STATUSES = [
    pytest.param(["/bin/sh", "-c", "exit 0"], 0, id="success"),
    pytest.param(["/bin/sh", "-c", "exit 7"], 7, id="own status"),
    pytest.param(["/bin/sh", "-c", "kill -TERM $$"], 128 + 15, id="killed by TERM"),
    pytest.param(["/bin/sh", "-c", "kill -KILL $$"], 128 + 9, id="killed by KILL"),
    pytest.param(["true"], 0, id="found in PATH"),
    pytest.param(["no-such-program"], 127, id="not in PATH"),
    pytest.param(["/no/such/file"], 127, id="no such path"),
    pytest.param(["/etc/passwd"], 126, id="not executable"),
    pytest.param(["/etc"], 126, id="a directory"),
]


@pytest.mark.parametrize(("argv", "status"), EXIT_STATUSES)
def test_exit_status(sandbox: Sandbox, argv: list[str], status: int) -> None:
    done = sandbox.run(*argv)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_changes_land_in_the_upper_and_nothing_else_does(sandbox: Sandbox) -> None:
    done = sandbox.sh("echo new > /data/new; rm /data/file; mkdir /made; cat /etc/hosts")
    assert done.returncode == 0, done.stderr
    found = sorted(str(p.relative_to(sandbox.upper)) for p in sandbox.upper.rglob("*"))
    assert found == ["data", "data/file", "data/new", "made"]
    assert (sandbox.base / "data/file").read_text() == "from the image\n"


def test_an_idle_container_leaves_no_trace(sandbox: Sandbox) -> None:
    """Mount points and host files come from the init layer: the upper stays empty."""
    assert sandbox.run("true").returncode == 0
    assert list(sandbox.upper.iterdir()) == []


def test_host_files(sandbox: Sandbox) -> None:
    done = sandbox.sh("hostname; cat /etc/hostname; grep box /etc/hosts; cat /etc/resolv.conf")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["box", "box"]
    assert lines[2].endswith("box")
    assert done.returncode == 0, done.stderr


def test_changing_the_hostname_file_is_a_change(sandbox: Sandbox) -> None:
    done = sandbox.sh("echo mine > /etc/hostname; cat /etc/hostname")
    assert done.stdout == "mine\n", done.stderr
    assert (sandbox.upper / "etc/hostname").read_text() == "mine\n"


def test_pid_namespace_and_proc(sandbox: Sandbox) -> None:
    done = sandbox.sh("ls /proc | grep -c '^[0-9]'; cat /proc/1/environ")
    assert int(done.stdout.split()[0]) < 8
    assert "permission denied" in done.stderr.lower() or "PATH=" in done.stdout
    assert "PYTEST" not in done.stdout


def test_only_dockers_capabilities(sandbox: Sandbox) -> None:
    """The bounding set too, which is what a setuid program could regain."""
    done = sandbox.sh("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status")
    assert done.stdout.split()[1::2] == [DOCKER_CAPABILITIES] * 3


def test_no_descriptor_leaks(sandbox: Sandbox) -> None:
    with open("/etc/passwd") as leaked:
        os.set_inheritable(leaked.fileno(), True)
        done = sandbox.sh("ls /proc/self/fd", keep=[leaked.fileno()])
    # 3 is the listing's own.
    assert done.stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "attack",
    [
        "echo x > /proc/sys/kernel/core_pattern",
        "echo x > /proc/sysrq-trigger",
        "head -c1 /proc/kcore",
        "mknod /disk b 254 0 && head -c1 /disk",
        "mknod /dev/disk b 254 0 && head -c1 /dev/disk",
        "mount -t tmpfs none /data",
        "mount -o remount,rw /sys",
        "touch /sys/kernel/x",
    ],
)
def test_refused_inside(sandbox: Sandbox, attack: str) -> None:
    done = sandbox.sh(f"({attack}) 2>/dev/null >/dev/null && echo worked")
    assert "worked" not in done.stdout


def test_devices_work(sandbox: Sandbox) -> None:
    done = sandbox.sh(
        "echo x > /dev/null && head -c4 /dev/zero | wc -c && head -c4 /dev/urandom | wc -c &&"
        " touch /dev/shm/x && readlink /dev/fd && ls /dev/pts"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["4", "4"]


def test_tmp_is_for_everybody(sandbox: Sandbox) -> None:
    done = sandbox.sh("stat -c %a /tmp; touch /tmp/x")
    assert (done.returncode, done.stdout) == (0, "1777\n"), done.stderr


def test_read_only_root(sandbox: Sandbox) -> None:
    done = sandbox.sh("touch /data/x", read_only=True)
    assert done.returncode != 0
    assert "Read-only" in done.stderr
    assert sandbox.sh("echo > /dev/null; touch /dev/shm/x", read_only=True).returncode == 0


def test_network_none_has_only_loopback(sandbox: Sandbox) -> None:
    done = sandbox.sh("ls /sys/class/net 2>/dev/null; ifconfig -a | grep -c Link", network="none")
    assert done.stdout.split()[-1] == "1", done
    assert "UP LOOPBACK" in sandbox.sh("ifconfig lo", network="none").stdout


def test_working_directory_is_made(sandbox: Sandbox) -> None:
    done = sandbox.run("/bin/sh", "-c", "pwd", cwd="/srv/app")
    assert done.stdout == "/srv/app\n", done.stderr
    assert (sandbox.upper / "srv/app").is_dir()


@pytest.mark.parametrize("cwd", ["/proc/self/fd/7", "/proc/self/fd", "/sys/x", "/dev/x"])
def test_working_directory_below_our_mounts_is_refused(sandbox: Sandbox, cwd: str) -> None:
    done = sandbox.run("/bin/sh", "-c", "pwd", cwd=cwd)
    assert done.returncode == 125
    assert cwd in done.stderr


def test_working_directory_through_a_link(sandbox: Sandbox) -> None:
    (sandbox.base / "link").symlink_to("/proc/self/fd/8")
    assert sandbox.run("/bin/sh", "-c", "pwd", cwd="/link").returncode == 125


def test_environment(sandbox: Sandbox) -> None:
    done = sandbox.run("/bin/env", env={"A": "b c", "HOME": "/h"})
    lines = set(done.stdout.splitlines())
    assert {"A=b c", "HOME=/h", "HOSTNAME=box"} <= lines
    assert {line.split("=")[0] for line in lines} <= {
        "A", "HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "_",
    }  # fmt: skip


def test_binds(sandbox: Sandbox) -> None:
    shared = sandbox.room / "shared"
    shared.mkdir()
    (shared / "note").write_text("hello\n")
    if not sandbox.account.is_root:
        subprocess.run(["chown", "-R", f"{sandbox.account.uid}", str(shared)], check=False)
    done = sandbox.sh(
        "cat /in/note /one; echo back > /in/answer; touch /ro/x 2>&1",
        mounts=[
            {"source": str(shared), "target": "/in"},
            {"source": str(shared), "target": "/ro", "read_only": True},
            {"source": str(shared / "note"), "target": "/one"},
        ],
    )
    assert done.stdout.startswith("hello\nhello\n"), done
    assert "Read-only" in done.stdout
    assert (shared / "answer").read_text() == "back\n"
    assert list(sandbox.upper.iterdir()) == []


def test_tmpfs(sandbox: Sandbox) -> None:
    done = sandbox.sh("touch /scratch/x && stat -f -c %T /scratch", mounts=[{"target": "/scratch"}])
    assert done.stdout == "tmpfs\n", done.stderr


def test_signals_are_forwarded(sandbox: Sandbox) -> None:
    started = sandbox.start(
        "/bin/sh", "-c", "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.send_signal(signal.SIGUSR1)
    out, _ = started.communicate(timeout=30)
    assert (started.returncode, out) == (9, "got\n")


def test_term_ends_a_program_without_handler(sandbox: Sandbox) -> None:
    """As pid 1 it would ignore TERM; it is pid 2."""
    started = sandbox.start("/bin/sh", "-c", "echo ready; exec sleep 60")
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.terminate()
    started.communicate(timeout=30)
    assert started.returncode == 128 + signal.SIGTERM


def test_nothing_outlives_a_killed_monitor(sandbox: Sandbox) -> None:
    marker = f"{sandbox.room.parent.name}-sleeper"
    started = sandbox.start("/bin/sh", "-c", f"echo ready; sleep 1000; echo {marker}")
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.kill()
    started.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while marker in _commands():
        assert time.monotonic() < deadline, "the payload survived its monitor"
        time.sleep(0.05)
    with open("/proc/self/mountinfo") as mounts:
        assert str(sandbox.room) not in mounts.read()


def _commands() -> str:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return "\n".join(line for line in listing.stdout.splitlines() if "actor.py" not in line)


def test_standard_input(sandbox: Sandbox) -> None:
    closed = sandbox.run("/bin/cat")
    assert (closed.returncode, closed.stdout) == (0, "")
    started = sandbox.start("/bin/cat", feed=subprocess.PIPE, stdin=True)
    out, _ = started.communicate("typed\n", timeout=30)
    assert out == "typed\n"
