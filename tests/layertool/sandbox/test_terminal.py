"""A container's terminal, seen from a person's."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sandboxtest import Sandbox

SECONDS = 20


@dataclass
class Person:
    """Somebody at a terminal, with `program` running in it."""

    master: int
    slave: int
    program: subprocess.Popen[str]
    seen: bytes = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read_until(self, text: str) -> str:
        """Everything seen so far, once `text` is in it."""
        deadline = time.monotonic() + SECONDS
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"waited for {text!r}, saw {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 4096)
        return self.seen.decode()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def end(self) -> int:
        """The exit status; output is read meanwhile, as a terminal does."""
        deadline = time.monotonic() + SECONDS
        while self.program.poll() is None:
            assert time.monotonic() < deadline, f"still running, saw {self.seen!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 4096)
        return self.program.returncode


Sit = Callable[..., Person]


@pytest.fixture(
    params=[("root", "kernel"), ("single", "kernel"), ("ranges", "kernel")], ids="-".join
)
def sit(request: pytest.FixtureRequest, make_sandbox: Callable[..., Sandbox]) -> Iterator[Sit]:
    """sit(*argv, **process) -> Person, whose program is a container with a terminal."""
    sandbox = make_sandbox(*request.param)
    people: list[Person] = []

    def start(*argv: str, **process: object) -> Person:
        master, slave = pty.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        program = sandbox.start(*argv, terminal=slave, tty=True, stdin=True, **process)
        people.append(Person(master, slave, program))
        return people[-1]

    yield start
    for person in people:
        person.program.kill()
        person.program.wait()
        os.close(person.master)
        os.close(person.slave)


def test_it_is_a_terminal_of_the_container(sit: Sit) -> None:
    person = sit("/bin/sh", "-c", "tty; stty size; echo $TERM; exit 3")
    assert person.end() == 3
    assert person.seen.decode().split() == ["/dev/pts/0", "33", "77", "xterm"]


def test_window_size_follows(sit: Sit) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    person = sit("/bin/sh", "-c", script)
    person.read_until("ready")
    person.resize(44, 99)
    # The terminal is not the program's controlling one here, so the kernel tells nobody.
    person.program.send_signal(signal.SIGWINCH)
    assert person.end() == 0
    assert "44 99" in person.seen.decode()


def test_interrupt_reaches_the_payload_only(sit: Sit) -> None:
    person = sit("/bin/sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; sleep 60 & wait")
    person.read_until("ready")
    person.type("\x03")
    assert person.end() == 5
    assert "caught" in person.seen.decode()


def test_interrupt_ends_a_plain_program(sit: Sit) -> None:
    person = sit("/bin/sh", "-c", "echo ready; exec sleep 60")
    person.read_until("ready")
    person.type("\x03")
    assert person.end() == 128 + signal.SIGINT


def test_a_shell_with_job_control(sit: Sit) -> None:
    person = sit("/bin/sh", "-i", env={"PS1": ""})
    person.type("echo sum-$((40 + 2))\n")
    seen = person.read_until("sum-42")
    assert "job control" not in seen
    person.type("sleep 60\n")
    time.sleep(0.3)
    person.type("\x03")
    person.type("echo still-$((1 + 1)); exit 4\n")
    assert person.end() == 4
    assert "still-2" in person.seen.decode()


def test_terminal_is_restored(sit: Sit) -> None:
    person = sit("/bin/sh", "-c", "echo ready; exec cat")
    person.read_until("ready")
    assert not termios.tcgetattr(person.slave)[3] & termios.ICANON, "raw while it runs"
    person.program.terminate()
    person.end()
    assert termios.tcgetattr(person.slave)[3] & termios.ICANON
    assert termios.tcgetattr(person.slave)[3] & termios.ECHO


def test_end_of_input_is_passed_on(make_sandbox: Callable[..., Sandbox]) -> None:
    """`echo x | run -it …`: no terminal on our side, one on the other."""
    started = make_sandbox().start(
        "/bin/cat", feed=subprocess.PIPE, tty=True, stdin=True, runner="native"
    )
    out, error = started.communicate("typed\n", timeout=SECONDS)
    assert started.returncode == 0, error
    assert "typed" in out


def test_another_user_owns_the_terminal(sit: Sit, request: pytest.FixtureRequest) -> None:
    if "single" in request.node.name:
        person = sit("/bin/sh", "-c", "id -u", user="1000")
        assert person.end() == 125
        return
    person = sit("/bin/sh", "-c", "id -u; stat -c %u /dev/pts/0; echo x > /dev/tty", user="1000")
    assert person.end() == 0
    assert person.seen.decode().split() == ["1000", "1000", "x"]
