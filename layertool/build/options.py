"""What the command line asks of a build."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layertool.errors import LayertoolError, NotFound, UsageError
from layertool.sandbox.process import Network

MAX_SECRET = 500 << 10  # bytes, BuildKit's limit


@dataclass(frozen=True, slots=True)
class Secret:
    """`--secret id=ID[,src=FILE|,env=NAME]`; read only when a step uses it."""

    id: str
    path: Path | None = None
    variable: str | None = None

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read one flag. Raises UsageError."""
        fields: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            key = {"source": "src"}.get(key, key)
            if not equals or key not in ("id", "src", "env", "type") or not value:
                raise UsageError(f"--secret {text}: must be id=ID,src=FILE or id=ID,env=NAME")
            fields[key] = value
        if "id" not in fields:
            raise UsageError(f"--secret {text}: needs id=")
        kind = fields.get("type", "env" if "env" in fields and "src" not in fields else "file")
        if kind == "env" or (kind == "file" and "src" not in fields and fields["id"] in os.environ):
            return cls(fields["id"], variable=fields.get("env", fields.get("src", fields["id"])))
        return cls(fields["id"], path=Path(fields.get("src", fields["id"])).absolute())

    def read(self) -> bytes:
        """The secret's content. Raises LayertoolError."""
        if self.variable is not None:
            value = os.environ.get(self.variable)
            if value is None:
                raise NotFound(f"secret {self.id}: no variable {self.variable} in the environment")
            return value.encode("utf-8", "surrogateescape")
        if self.path is None:
            raise NotFound(f"secret {self.id}: has neither a file nor a variable")
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_SECRET + 1)
        except OSError as error:
            raise NotFound(f"secret {self.id}: {self.path}: {error.strerror}") from None
        if len(content) > MAX_SECRET:
            raise LayertoolError(f"secret {self.id}: more than {MAX_SECRET} bytes")
        return content


@dataclass(frozen=True, slots=True)
class Options:
    """`epoch` clamps times, in seconds since 1970; None keeps them and the layer's own times."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    no_cache: bool = False
    no_cache_stages: Sequence[str] = ()
    platform: str | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: Network = "host"
    squash: bool = False
    epoch: int | None = None
    driver: str = "auto"
    debug_shell: bool = False
    pull: bool = False


def parse_pairs(flag: str, words: Sequence[str], *, inherit: bool = False) -> dict[str, str]:
    """`NAME=VALUE` words; with `inherit`, a bare NAME takes the environment's value if it has one.

    Raises UsageError.
    """
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not (equals or inherit):
            raise UsageError(f"{flag} {word}: must be NAME=VALUE")
        if equals:
            pairs[name] = value
        elif name in os.environ:
            pairs[name] = os.environ[name]
    return pairs
