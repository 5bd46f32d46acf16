"""The value of `RUN --mount=…`: comma-separated `key=value` fields."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from layertool.build.instructions import Mount

_TYPES = ("bind", "cache", "tmpfs", "secret")
_SHARING = ("shared", "private", "locked")
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_FLAGS = ("readonly", "readwrite", "required")
# podman's wish to relabel what is mounted: a step's process has no label that could be refused.
_SELINUX = ("z", "relabel")
# Which keys have a meaning for which type; any other is an error rather than silence.
_KEYS = {
    "bind": {"source", "target", "from", "readonly", "readwrite"},
    "cache": {
        "id", "source", "target", "from", "readonly", "readwrite", "sharing", "mode", "uid", "gid",
    },
    "tmpfs": {"target", "size", "readonly", "readwrite"},
    "secret": {"id", "source", "target", "required", "env", "mode", "uid", "gid"},
}  # fmt: skip
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)([kmgt]?)i?b?$", re.IGNORECASE)
_BOOLS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
MAX_ID = (1 << 32) - 2  # (uid_t)-1 means "no change" to chown(2)


def parse_mount(text: str, expand: Callable[[str], str] = lambda word: word) -> Mount:
    """Read one value; `expand` is applied to each field's value.

    Raises ValueError with what is wrong.
    """
    fields = _Fields()
    for part in _split(text):
        key, equals, value = part.partition("=")
        fields.add(key.strip().lower(), expand(value) if equals else None, part)
    return fields.mount()


def mount_sources(text: str) -> str | None:
    """The `from=` of a mount value, before expansion; None without one.

    Raises ValueError when it holds a variable: the stage graph is made before variables are known.
    """
    for part in _split(text):
        key, _, value = part.partition("=")
        if key.strip().lower() == "from":
            if "$" in value:
                raise ValueError(
                    "from= cannot hold a variable; name a stage with FROM … AS instead"
                )
            return value
    return None


def _split(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"mount {text!r}: {error}") from None
    return rows[0] if rows else []


@dataclass(slots=True)
class _Fields:
    values: dict[str, str] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)

    def add(self, key: str, value: str | None, part: str) -> None:
        key = _ALIASES.get(key, key)
        if key in _SELINUX:
            return
        if key in _FLAGS:
            self.flags[key] = True if value is None else _bool(key, value)
        elif value is None:
            raise ValueError(f"mount field {part!r} must be key=value")
        else:
            self.values[key] = value

    def mount(self) -> Mount:
        kind = self.values.pop("type", "bind").lower()
        if kind == "ssh":
            raise ValueError("mount type ssh is not supported; use type=secret for a key")
        if kind not in _TYPES:
            raise ValueError(f"unknown mount type {kind!r}")
        for key in (*self.values, *self.flags):
            if key not in _KEYS[kind]:
                raise ValueError(f"mount key {key!r} means nothing for type {kind}")
        mount = Mount(
            type=kind,
            target=self.values.get("target", ""),
            source=self.values.get("source", ""),
            from_=self.values.get("from", ""),
            id=self.values.get("id", ""),
            read_only=self._read_only(kind),
            sharing=_choice("sharing", self.values.get("sharing", "shared"), _SHARING),
            size=_size(self.values.get("size", "0")),
            required=self.flags.get("required", False),
            env=self.values.get("env"),
            mode=_number("mode", self.values.get("mode"), 8, 0o7777),
            uid=_number("uid", self.values.get("uid"), 10, MAX_ID),
            gid=_number("gid", self.values.get("gid"), 10, MAX_ID),
        )
        return _checked(mount)

    def _read_only(self, kind: str) -> bool:
        if "readonly" in self.flags:
            return self.flags["readonly"]
        if "readwrite" in self.flags:
            return not self.flags["readwrite"]
        return kind not in ("cache", "tmpfs")


def _checked(mount: Mount) -> Mount:
    if mount.type == "secret":
        if mount.source and mount.id:
            raise ValueError("a secret mount has source or id, not both")
        if not (mount.source or mount.id or mount.target):
            raise ValueError("a secret mount needs id or target")
    return mount


def _bool(key: str, value: str) -> bool:
    if value.lower() not in _BOOLS:
        raise ValueError(f"mount field {key}: {value!r} is neither true nor false")
    return _BOOLS[value.lower()]


def _choice(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value.lower() not in allowed:
        raise ValueError(f"mount field {key}: {value!r} is none of {', '.join(allowed)}")
    return value.lower()


def _size(value: str) -> int:
    match = _SIZE.match(value)
    if match is None:
        raise ValueError(f"mount field size: {value!r} is not a size")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _number(key: str, value: str | None, base: int, limit: int) -> int | None:
    if value is None:
        return None
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number <= limit:
        raise ValueError(f"mount field {key}: {value!r} is not a number from 0 to {limit}")
    return number
