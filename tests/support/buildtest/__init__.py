"""Builds run through the command line, as people run them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fstest import needs

BUSYBOX = Path("/bin/busybox")
# Who builds: root, a user with one id, a user with ranges of ids; others can only be themselves.
if os.geteuid() == 0:
    KINDS = ["root", "single", "ranges"]
else:
    KINDS = ["ranges" if needs.missing("subids") is None else "single"]
# A build that installs real packages from a mirror takes minutes.
TIMEOUT = 1200 if os.environ.get("LAYERTOOL_TEST_MIRROR") == "1" else 120  # seconds
# A root file system of one static binary; every test of a shell builds on it.
BASE = """FROM scratch
COPY busybox /bin/busybox
COPY <<passwd <<group /etc/
root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:App:/home/app:/bin/sh
passwd
root:x:0:
app:x:1000:
extra:x:2000:app
group
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["sh"]
"""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def image(self) -> str:
        """The image id that a successful build printed."""
        assert self.status == 0, f"exit status {self.status}\n{self.err}"
        return self.out.strip()

    @property
    def ran(self) -> list[str]:
        """The steps that were not cached, as `STAGE NUMBER`."""
        return [_step(line) for line in self._steps() if not line.endswith("  cached")]

    @property
    def cached(self) -> list[str]:
        """The steps that were."""
        return [_step(line) for line in self._steps() if line.endswith("  cached")]

    def _steps(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("[") and "/" in line]

    def why(self, step: str) -> str:
        """Why a step was not cached."""
        stage, number = step.split()
        for line in self.err.splitlines():
            if line.startswith(f"  [{stage} {number}/") and "not cached: " in line:
                return line.partition("not cached: ")[2]
        raise AssertionError(f"step {step} was cached, or not there:\n{self.err}")


def _step(line: str) -> str:
    stage, _, rest = line[1:].partition(" ")
    return f"{stage} {rest.partition('/')[0]}"


@dataclass
class Bench:
    """A store and a context directory."""

    root: Path
    context: Path
    prefix: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def room(self) -> Path:
        """A directory of the test's own, beside the context."""
        return self.context.parent

    def words(self, *arguments: str | Path) -> list[str]:
        """The command line that runs layertool on this bench's store."""
        return [*self.prefix, *command(), "--root", str(self.root), *map(str, arguments)]

    def layertool(self, *arguments: str | Path, **options: Any) -> Result:
        """Run layertool on this bench's store."""
        done = subprocess.run(
            self.words(*arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env={**os.environ, **self.env},
            cwd=self.context,
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def build(self, dockerfile: str, *flags: str, **options: Any) -> Result:
        """Build a Dockerfile in the context."""
        (self.context / "Dockerfile").write_text(dockerfile)
        return self.layertool("build", "--progress", "plain", *flags, ".", **options)

    def config(self, image: str) -> dict[str, Any]:
        """The config document of an image, from its blob."""
        path = self.root / "blobs" / "sha256" / image.removeprefix("sha256:")
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def write(self, name: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        """A file in the context."""
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """As if the one who builds had made it."""
        owner = self.context.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def leftovers(self) -> list[str]:
        """What an ended build must not leave: scratch space and mounts."""
        scratch = [str(path) for path in (self.root / "tmp").glob("*")]
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            return scratch + [line for line in mounts if str(self.root) in line]

    def make_base(self) -> None:
        """Have the image `base` in the store."""
        shutil.copy(BUSYBOX, self.context / "busybox")
        done = self.build(BASE, "-t", "base")
        assert done.status == 0, done.err


@contextmanager
def under_a_second() -> Iterator[None]:
    """Fails when programs run meanwhile take a second of processor time.

    Not of the clock: other tests may be using the processors.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def command() -> list[str]:
    """The layertool of this checkout, with this Python."""
    return [sys.executable, "-c", "import sys; from layertool.cli import main; sys.exit(main())"]
