"""A 20-step build, cold and warm, beside `buildah bud`: run me as a script, as root.

    python tests/layertool/build/bench_build.py [ROUNDS]

Both start from the same base image and the same context. Cold is a build with no cache of steps,
warm the same build again. The median of the rounds is shown, each round of each tool in turn.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "tests/support"))

from buildtest import BASE, BUSYBOX, command

STEPS = 20
TIMEOUT = 600  # seconds


def dockerfile(base: str) -> str:
    """COPY and `RUN true` in turn, each COPY of another file."""
    steps = [f"COPY f{n} /f{n}" if n % 2 else "RUN true" for n in range(STEPS)]
    return "\n".join([f"FROM {base}", *steps, ""])


class Tool:
    """One builder: how to make its base, and how to build."""

    def __init__(
        self, name: str, prepare: list[str], build: list[str], env: dict[str, str]
    ) -> None:
        self.name = name
        self._prepare = prepare
        self._build = build
        self._env = {**os.environ, **env}

    def prepare(self, context: Path) -> None:
        """Have the base image."""
        self._run(self._prepare, context)

    def build(self, context: Path, *flags: str) -> float:
        """Build once; seconds."""
        start = time.monotonic()
        self._run([*self._build, *flags, "."], context)
        return time.monotonic() - start

    def _run(self, words: list[str], context: Path) -> None:
        done = subprocess.run(
            words,
            cwd=context,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: {' '.join(words)}: {done.stderr[-2000:]}")


def tools(room: Path) -> list[Tool]:
    """layertool, and buildah with both of its storage drivers where it is installed."""
    ours = [*command(), "--root", str(room / "layertool")]
    found = [
        Tool(
            "layertool",
            [*ours, "build", "-q", "-f", "base.Dockerfile", "-t", "base", "."],
            [*ours, "build", "-q", "-f", "bench.Dockerfile", "-t", "bench"],
            {},
        )
    ]
    if shutil.which("buildah") is None:
        print("buildah is not installed: apt-get install buildah")
        return found
    for driver in ("overlay", "vfs"):
        store = room / f"buildah-{driver}"
        options = ["--root", f"{store}/root", "--runroot", f"{store}/run"]
        options += ["--storage-driver", driver]
        bud = ["buildah", *options, "bud", "--isolation", "chroot", "--layers"]
        found.append(
            Tool(
                f"buildah {driver}",
                [*bud, "-f", "base.Dockerfile", "-t", "base", "."],
                [*bud, "-f", "bench-buildah.Dockerfile", "-t", "bench"],
                {"STORAGE_DRIVER": driver},
            )
        )
    return found


def write_context(context: Path) -> None:
    """Twenty files of 10 kB; the base without heredocs, which buildah 1.28 does not read."""
    context.mkdir()
    shutil.copy(BUSYBOX, context / "busybox")
    base = "\n".join(
        line for line in BASE.splitlines() if line.split(" ")[0] in ("FROM", "RUN", "CMD")
    )
    base = base.replace("FROM scratch", "FROM scratch\nCOPY busybox /bin/busybox")
    (context / "base.Dockerfile").write_text(base + "\n")
    (context / "bench.Dockerfile").write_text(dockerfile("base"))
    (context / "bench-buildah.Dockerfile").write_text(dockerfile("localhost/base"))
    for number in range(STEPS):
        (context / f"f{number}").write_bytes(os.urandom(10_000))


def measure(rounds: int, room: Path) -> None:
    """Print the medians and the ratios to buildah's better driver."""
    context = room / "context"
    write_context(context)
    present = tools(room)
    for tool in present:
        tool.prepare(context)
    cold: dict[str, list[float]] = {tool.name: [] for tool in present}
    warm: dict[str, list[float]] = {tool.name: [] for tool in present}
    for _ in range(rounds):
        for tool in present:
            cold[tool.name].append(tool.build(context, "--no-cache"))
            tool.build(context)
            warm[tool.name].append(tool.build(context))
    report("cold", cold)
    report("warm", warm)


def report(title: str, seconds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(title + ": " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()))
    others = [value for name, value in medians.items() if name != "layertool"]
    if others:
        print(f"  layertool / the better buildah: {medians['layertool'] / min(others):.2f}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    room = Path(tempfile.mkdtemp(prefix="bench-build-", dir="/var/tmp"))
    try:
        measure(rounds, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)


if __name__ == "__main__":
    main()
