"""The last steps before exec, in a forked child of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layertool.errors import LayertoolError
from layertool.sandbox import launch
from layertool.sandbox.users import Identity


def in_child(body: Callable[[], int]) -> int:
    """Run `body` in a forked child; its result is the exit status."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = body()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_no_code_is_loaded_from_the_container(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text("import os; os._exit(66)")

    def body() -> int:
        sys.path.insert(0, str(tmp_path))
        launch.forbid_imports()
        try:
            __import__("hostile")
        except ImportError:
            return 7
        return 1

    assert in_child(body) == 7


@pytest.mark.needs("root")
def test_identity_is_for_good() -> None:
    def body() -> int:
        launch.become(Identity(1000, 1001, (50,), "/"), frozenset())
        if (os.getresuid(), os.getresgid()) != ((1000,) * 3, (1001,) * 3):
            return 1
        if set(os.getgroups()) != {1001, 50}:
            return 2
        try:
            os.setuid(0)
        except PermissionError:
            return 7
        return 3

    assert in_child(body) == 7


def test_a_directory_outside_the_root_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to chroot")
    (tmp_path / "root").mkdir()

    def body() -> int:
        outside = os.open(tmp_path, os.O_RDONLY)
        os.chroot(tmp_path / "root")
        try:
            launch.enter_directory(f"/proc/self/fd/{outside}")
        except (LayertoolError, FileNotFoundError):
            pass
        else:
            return 1
        os.fchdir(outside)
        try:
            launch.enter_directory(".")
        except (LayertoolError, FileNotFoundError):
            return 7
        return 2

    assert in_child(body) == 7


@pytest.mark.parametrize(
    ("content", "mode", "status"),
    [
        (None, 0, 127),
        ("#!/no/such/interpreter\n", 0o755, 127),
        ("#!/bin/sh\n", 0o644, 126),
        ("\x7fELF nonsense", 0o755, 126),
    ],
)
def test_execute_failures(tmp_path: Path, content: str | None, mode: int, status: int) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)

    def body() -> int:
        try:
            launch.execute(str(program), ["program"], {})
        except LayertoolError as error:
            return error.exit_code
        return 1

    assert in_child(body) == status
