"""What a container runs: the image's config and the flags of `run`, settled once at creation.

It is kept in the container's record as plain JSON, so `exec`, `ps` and a later start see the same.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layertool.errors import LayertoolError, UsageError
from layertool.sandbox.initlayer import InitLayer
from layertool.sandbox.process import FAILED, Bind, Network, Process

_HOST_NAME_MAX = 64  # sethostname(2)


@dataclass(frozen=True, slots=True)
class RunFlags:
    """The flags of `run`; `None` and empty leave the image's value in force."""

    command: Sequence[str] = ()
    entrypoint: str | None = None
    env: Sequence[str] = ()
    env_files: Sequence[Path] = ()
    workdir: str | None = None
    user: str | None = None
    volumes: Sequence[str] = ()
    labels: Sequence[str] = ()
    hostname: str | None = None
    network: str = "host"
    driver: str = "auto"
    read_only: bool = False
    tty: bool = False
    stdin: bool = False
    auto_remove: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container's settings. `binds` are (source, target, read-only).

    All have a default, for a record that its writer did not live to write.
    """

    image: str = ""
    argv: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    hostname: str | None = None
    network: Network = "host"
    driver: str = "auto"
    read_only: bool = False
    tty: bool = False
    stdin: bool = False
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    auto_remove: bool = False

    @classmethod
    def from_image(cls, image: str, config: Mapping[str, Any], flags: RunFlags) -> ContainerSpec:
        """Combine the `config` object of an image's configuration with flags, as docker does.

        Raises LayertoolError for a flag that makes no sense.
        """
        return cls(
            image=image,
            argv=_argv(config, flags),
            env=_env(config, flags),
            cwd=flags.workdir or _text(config, "WorkingDir") or "/",
            user=flags.user if flags.user is not None else _text(config, "User"),
            hostname=_hostname(flags.hostname),
            network=_network(flags.network),
            driver=flags.driver,
            read_only=flags.read_only,
            tty=flags.tty,
            stdin=flags.stdin,
            binds=[parse_volume(volume) for volume in flags.volumes],
            labels={**(config.get("Labels") or {}), **dict(map(_pair, flags.labels))},
            stop_signal=_text(config, "StopSignal") or "SIGTERM",
            auto_remove=flags.auto_remove,
        )

    def to_dict(self) -> dict[str, Any]:
        """For the container's record."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ContainerSpec:
        """Back from `to_dict`, through JSON."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        values = {key: value for key, value in record.items() if key in known}
        values["binds"] = [
            (source, target, read_only) for source, target, read_only in values.get("binds", [])
        ]
        return cls(**values)

    def named(self, hostname: str) -> ContainerSpec:
        """With a host name, unless one was chosen."""
        return self if self.hostname else dataclasses.replace(self, hostname=hostname)

    def init_layer(self) -> InitLayer:
        """The layer that gives the container its mount points and host files."""
        return InitLayer.standard(
            hostname=self.hostname, network=self.network, mounts=self._mounts()
        )

    def process(self, *, stdout: int | None = None, stderr: int | None = None) -> Process:
        """The container's main process."""
        return Process(
            argv=self.argv,
            env=self.env,
            cwd=self.cwd,
            user=self.user,
            tty=self.tty,
            stdin=self.stdin,
            stdout=stdout,
            stderr=stderr,
            read_only=self.read_only,
            network=self.network,
            mounts=self._mounts(),
            hostname=self.hostname,
        )

    def beside(
        self,
        command: Sequence[str],
        *,
        env: Sequence[str] = (),
        cwd: str | None = None,
        user: str | None = None,
        tty: bool = False,
        stdin: bool = False,
    ) -> Process:
        """Another process in the same container; `None` keeps the container's value."""
        variables = dict(self.env)
        for item in env:
            _apply(variables, item)
        return Process(
            argv=command,
            env=variables,
            cwd=cwd or self.cwd,
            user=self.user if user is None else user,
            hostname=self.hostname,
            tty=tty,
            stdin=stdin,
        )

    def _mounts(self) -> list[Bind]:
        return [Bind(Path(source), target, read_only) for source, target, read_only in self.binds]


def _text(config: Mapping[str, Any], key: str) -> str:
    """A string of the config; images also write null."""
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _argv(config: Mapping[str, Any], flags: RunFlags) -> list[str]:
    """ENTRYPOINT and CMD; a command replaces CMD, an entrypoint replaces both."""
    if flags.entrypoint is not None:
        return [*([flags.entrypoint] if flags.entrypoint else []), *flags.command]
    entrypoint = [str(word) for word in config.get("Entrypoint") or []]
    command = flags.command or [str(word) for word in config.get("Cmd") or []]
    return [*entrypoint, *command]


def _env(config: Mapping[str, Any], flags: RunFlags) -> dict[str, str]:
    """The image's variables, then those of files, then single ones; later ones win."""
    env = dict(map(_pair, config.get("Env") or []))
    for path in flags.env_files:
        for line in _lines(path):
            _apply(env, line)
    for item in flags.env:
        _apply(env, item)
    return env


def _apply(env: dict[str, str], item: str) -> None:
    """`NAME=VALUE` sets; `NAME` alone hands our own value on, or unsets."""
    name, equals, value = item.partition("=")
    if not name:
        raise UsageError(f"-e {item}: a variable needs a name")
    if equals:
        env[name] = value
    elif name in os.environ:
        env[name] = os.environ[name]
    else:
        env.pop(name, None)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise LayertoolError(f"--env-file {path}: {error.strerror}", exit_code=FAILED) from None
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def _hostname(name: str | None) -> str | None:
    if name is not None and len(os.fsencode(name)) > _HOST_NAME_MAX:
        raise UsageError(f"--hostname {name}: is longer than {_HOST_NAME_MAX} bytes")
    return name


def _network(name: str) -> Network:
    if name == "host":
        return "host"
    if name == "none":
        return "none"
    raise UsageError(f"--network {name}: must be host or none")


def parse_volume(text: str) -> tuple[str, str, bool]:
    """`SOURCE:TARGET[:ro|rw]` with an existing host path; named volumes do not exist here.

    Raises UsageError for another form and LayertoolError for a missing source.
    """
    source, colon, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not colon or not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise UsageError(f"-v {text}: must be SOURCE:TARGET[:ro], TARGET being absolute")
    if "/" not in source and source not in (".", ".."):
        raise UsageError(f"-v {text}: named volumes are not supported; write ./{source}")
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise LayertoolError(f"-v {text}: {path} does not exist", exit_code=FAILED)
    inside = os.path.normpath("/" + target.lstrip("/"))
    if inside == "/":
        raise UsageError(f"-v {text}: the root itself cannot be replaced")
    return str(path), inside, mode == "ro"
