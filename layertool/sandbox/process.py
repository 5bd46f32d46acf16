"""What to run, as data: no behaviour, nothing of it resolved yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Network = Literal["host", "none"]
Runner = Literal["auto", "bubblewrap", "native"]

#: docker's default set; the numbers are those of capabilities(7).
DOCKER_CAPABILITIES: Final[Mapping[str, int]] = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}

#: docker's PATH for an image whose config sets none.
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Exit statuses of `run` and `exec` that do not come from the command itself.
FAILED: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path shown inside: `-v SOURCE:TARGET[:ro]`."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An empty directory in memory, gone with the process. `size` in bytes, 0 for no limit."""

    target: str
    mode: int = 0o1777
    size: int = 0


@dataclass(frozen=True, slots=True)
class Process:
    """One command and the room it runs in.

    `argv[0]` is looked up in PATH inside the root. `user` is docker's form, `NAME|UID[:GROUP|GID]`,
    empty for root. Without `stdin` the command reads /dev/null. `stdout` and `stderr` are
    descriptors, `None` for our own. `cwd` is made when the image lacks it, as docker does.
    `groups` adds supplementary groups (names or numbers) to those in the image's group file.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    groups: Sequence[str] = ()
    tty: bool = False
    stdin: bool = False
    stdout: int | None = None
    stderr: int | None = None
    capabilities: frozenset[str] = frozenset(DOCKER_CAPABILITIES)
    read_only: bool = False
    network: Network = "host"
    mounts: Sequence[Bind | Tmpfs] = ()
    hostname: str | None = None
    runner: Runner = "auto"
