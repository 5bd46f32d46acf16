"""The commands, as people and scripts run them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from registrytest.debian import PASSWORD, USER, RunningRegistry


class Shell:
    """Runs layertool with a store, a home and credentials of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.auth_file = root / "auth.json"
        self.environment = os.environ | {
            "HOME": str(root),
            "LAYERTOOL_ROOT": str(root / "store"),
            "REGISTRY_AUTH_FILE": str(self.auth_file),
        }

    def run(
        self, *arguments: str | Path, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("layertool"), *map(str, arguments)]
        done = subprocess.run(
            command,
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def fails(self, *arguments: str | Path, stdin: str = "", status: int = 1) -> str:
        """The one line that a failing command prints."""
        done = self.run(*arguments, stdin=stdin, check=False)
        assert done.returncode == status, (done.stdout, done.stderr)
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("layertool: ")
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return line.removeprefix("layertool: ")

    def login(self, domain: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        return self.run("login", "-u", USER, "--password-stdin", domain, stdin=password + "\n")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_login_and_logout(shell: Shell, guarded: RunningRegistry) -> None:
    assert shell.login(guarded.domain).stdout == "Login Succeeded\n"
    assert stat.S_IMODE(shell.auth_file.stat().st_mode) == 0o600
    assert list(json.loads(shell.auth_file.read_text())["auths"]) == [guarded.domain]
    done = shell.run("logout", guarded.domain)
    assert done.stdout == f"Removed login credentials for {guarded.domain}\n"
    assert json.loads(shell.auth_file.read_text())["auths"] == {}
    assert shell.run("logout", guarded.domain).stdout == f"Not logged in to {guarded.domain}\n"


def test_a_wrong_password_is_not_kept(shell: Shell, guarded: RunningRegistry) -> None:
    line = shell.fails(
        "login", "--username", USER, "--password-stdin", guarded.domain, stdin="wrong"
    )
    assert "access denied" in line
    assert "wrong" not in line
    assert not shell.auth_file.exists()


@pytest.mark.parametrize(
    ("arguments", "stdin", "reason"),
    [
        (["login", "r.example", "--password-stdin"], "x", "needs --username"),
        (["login", "r.example", "-u", "me"], "", "--password-stdin"),
        (["login", "r.example", "-u", "me", "--password-stdin"], "\n", "must not be empty"),
        (["pull", "x", "--tls-verify=maybe"], "", "neither true nor false"),
    ],
)
def test_wrong_command_lines(shell: Shell, arguments: list[str], stdin: str, reason: str) -> None:
    assert reason in shell.fails(*arguments, stdin=stdin, status=2)


def test_login_wants_a_registry(shell: Shell) -> None:
    line = shell.fails("login", "https://r.example/", "-u", "me", "--password-stdin", stdin="x")
    assert "write HOST or HOST:PORT" in line
