"""The commands, as people and scripts run them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from registrytest.debian import PASSWORD, USER, RunningRegistry
from registrytest.fake import FakeRegistry, drip
from registrytest.images import digest_of, make_image, noise

IMAGE = make_image([{"base": noise(300_000, 8)}, {"app": b"app\n"}])


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

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same without waiting for it."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("layertool"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

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
        (["copy", "--all", "--platform=arm64", "docker://r.example/x", "oci:x"], "", "--all"),
    ],
)
def test_wrong_command_lines(shell: Shell, arguments: list[str], stdin: str, reason: str) -> None:
    assert reason in shell.fails(*arguments, stdin=stdin, status=2)


def test_login_wants_a_registry(shell: Shell) -> None:
    line = shell.fails("login", "https://r.example/", "-u", "me", "--password-stdin", stdin="x")
    assert "write HOST or HOST:PORT" in line


def test_pull_and_push(shell: Shell, guarded: RunningRegistry, fake: FakeRegistry) -> None:
    fake.add("app", "1", IMAGE)
    name = f"{fake.domain}/app:1"
    done = shell.run("pull", name)
    assert done.stdout == f"{IMAGE.id}\n"
    assert f"{digest_of(IMAGE.layers[0])[7:19]}: pulled" in done.stderr
    target = f"{guarded.domain}/cli/app:2"
    assert "access denied" in shell.fails("push", name, target)
    shell.login(guarded.domain)
    done = shell.run("push", name, target)
    assert done.stdout == f"{IMAGE.digest}\n"
    assert shell.run("pull", "--quiet", target).stderr == ""
    assert "already exists" in shell.run("push", IMAGE.id, target).stderr


def test_ctrl_c_keeps_what_has_arrived(shell: Shell, fake: FakeRegistry) -> None:
    fake.add("app", "1", IMAGE)
    blob = IMAGE.layers[0]
    fake.fail(f"GET .*/{digest_of(blob)}", lambda r: drip(blob, 100_000, 1.5))
    process = shell.start("pull", f"{fake.domain}/app:1")
    partial = shell.root / "store/partial" / digest_of(blob)[7:]
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert time.monotonic() - started < 5
    kept = partial.stat().st_size
    fake.seen.clear()
    assert shell.run("pull", f"{fake.domain}/app:1").stdout == f"{IMAGE.id}\n"
    assert fake.requests(digest_of(blob))[0].headers["Range"] == f"bytes={kept}-"


@pytest.mark.needs("root")
def test_a_full_disk_is_one_line(shell: Shell, fake: FakeRegistry) -> None:
    """A store on a small tmpfs: no image, no half layer, and with room the pull goes on."""
    large = make_image([{"base": noise(6_000_000, 8)}, {"app": b"app\n"}])
    fake.add("app", "1", large)
    disk = shell.root / "store"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True, timeout=30)
    try:
        line = shell.fails("pull", f"{fake.domain}/app:1")
        assert "No space left" in line
        assert json.loads(shell.run("images", "--json").stdout) == []
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True, timeout=30)
        assert shell.run("pull", f"{fake.domain}/app:1").stdout == f"{large.id}\n"
        assert shell.run("fsck").returncode == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=30)


def test_errors_are_one_line(shell: Shell, fake: FakeRegistry) -> None:
    name = f"{fake.domain}/none:1"
    assert f"{name}: not found" in shell.fails("pull", name)
    assert "no such image" in shell.fails("push", "none", name)
    assert "bad registry" in shell.fails("pull", "UPPER.example_/x", status=1)


def test_skopeo_understands_our_login(shell: Shell, guarded: RunningRegistry) -> None:
    shell.login(guarded.domain)
    fetched = subprocess.run(
        ["skopeo", "list-tags", "--tls-verify=false", f"docker://{guarded.domain}/none"],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # logged in, it learns that there is no such repository; else it would be unauthorized
    assert "unauthorized" not in fetched.stderr
    assert "404" in fetched.stderr


def test_copy(shell: Shell, guarded: RunningRegistry, fake: FakeRegistry) -> None:
    fake.add("app", "1", IMAGE)
    layout = f"oci:{shell.root}/layout:1"
    done = shell.run("copy", f"docker://{fake.domain}/app:1", layout)
    assert done.stdout == f"{IMAGE.digest}\n"
    target = f"docker://{guarded.domain}/copied:1"
    assert "access denied" in shell.fails("copy", layout, target)
    shell.login(guarded.domain)
    assert shell.run("copy", "-q", layout, target).stdout == f"{IMAGE.digest}\n"
    done = shell.run("copy", target, f"docker-archive:{shell.root}/app.tar")
    assert "its id is the same" in done.stderr
    assert not (shell.root / "store").exists()
    assert "No such file" in shell.fails("copy", f"oci:{shell.root}/none", layout)


@pytest.mark.needs("openssl")
def test_copy_with_trust_for_one_side(
    shell: Shell, fake: FakeRegistry, secure: FakeRegistry
) -> None:
    fake.add("app", "1", IMAGE)
    words = ["copy", "-q", f"docker://{fake.domain}/app:1", f"docker://{secure.domain}/copy:1"]
    assert "certificate not trusted" in shell.fails(*words, "--src-tls-verify=false")
    assert shell.run(*words, "--dest-tls-verify=false").stdout == f"{IMAGE.digest}\n"
    assert "--dest-tls-verify: 'no'" in shell.fails(*words, "--dest-tls-verify=no", status=2)
