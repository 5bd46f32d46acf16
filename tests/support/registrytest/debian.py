"""Debian's docker-registry, unpacked into a cache and run for a test; no service is installed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "someone", "correct horse"
# bcrypt of PASSWORD, cost 4, made once with htpasswd -nbB: the one form that the registry takes.
_HTPASSWD = f"{USER}:$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"


@dataclass(frozen=True)
class RunningRegistry:
    domain: str
    root: Path

    @property
    def url(self) -> str:
        return f"http://{self.domain}"


def registry_program() -> Path | str:
    """The program, or a line that says why there is none."""
    installed = shutil.which("docker-registry")
    if installed:
        return Path(installed)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertool-tests"
    program = cache / "docker-registry/usr/bin/docker-registry"
    return program if program.exists() else _unpack(program)


def _unpack(program: Path) -> Path | str:
    target = program.parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        done = subprocess.run(
            ["apt-get", "download", "-q", "docker-registry"],
            cwd=name,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        packages = list(Path(name).glob("*.deb"))
        if done.returncode != 0 or not packages:
            return f"needs Debian's docker-registry: apt-get download failed: {done.stderr[-200:]}"
        tree = Path(name) / "tree"
        subprocess.run(["dpkg-deb", "-x", packages[0], tree], check=True, timeout=120)
        with contextlib.suppress(OSError):  # another test process was quicker
            tree.rename(target)
    return program


@contextlib.contextmanager
def running_registry(
    program: Path, root: Path, *, password: bool = False
) -> Iterator[RunningRegistry]:
    """A registry on a free port of 127.0.0.1 that keeps its data below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    config = _config(root, port, password)
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(root)},
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/v2/", process, root / "log")
            yield RunningRegistry(f"127.0.0.1:{port}", root)
        finally:
            process.kill()
            process.wait(timeout=30)


def _config(root: Path, port: int, password: bool) -> Path:
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(root / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if password:
        (root / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}}
    path = root / "config.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # 401 is an answer
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"docker-registry did not start: {log.read_text()[-500:]}")
