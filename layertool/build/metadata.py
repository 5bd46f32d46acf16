"""Instructions that change only the image's config: everything but RUN, COPY, ADD.

Each returns the `created_by` line of its history entry, in the form `docker history` shows.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from functools import singledispatchmethod

from layertool.build import instructions as ins
from layertool.build.draft import Draft
from layertool.build.place import Place
from layertool.build.scope import BuildArgs, Scope

_PORT = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?$", re.IGNORECASE)
_MAX_SIGNAL = 64
_REALTIME = re.compile(r"^RTM(IN|AX)(?:[+-]\d{1,2})?$")


class Metadata:
    """Applies instructions of one stage to its draft and scope."""

    def __init__(
        self, draft: Draft, scope: Scope, build: BuildArgs, globals_: Scope | None = None
    ) -> None:
        self._draft = draft
        self._scope = scope
        self._build = build
        self._globals = globals_ or Scope()
        self._has_cmd = False  # CMD of this stage, as opposed to one inherited

    @singledispatchmethod
    def apply(self, instruction: ins.Instruction) -> str:
        """Apply one instruction. Raises DockerfileError."""
        raise TypeError(f"{instruction.keyword} is not metadata")

    @apply.register
    def _arg(self, instruction: ins.Arg) -> str:
        self._scope.declare(instruction, self._build, self._globals.args)
        shown = []
        for raw_name, _ in instruction.pairs:
            name = self._scope.expand(raw_name, instruction.place)
            value = self._scope.args.get(name)
            shown.append(name if value is None else f"{name}={value}")
        return "ARG " + " ".join(shown)

    @apply.register
    def _env(self, instruction: ins.Env) -> str:
        pairs = self._pairs(instruction)
        for name, value in pairs:
            self._draft.set_env(name, value)
            self._scope.env[name] = value
        return "ENV " + " ".join(f"{name}={value}" for name, value in pairs)

    @apply.register
    def _label(self, instruction: ins.Label) -> str:
        pairs = self._pairs(instruction)
        labels = dict(self._draft.config.get("Labels") or {})
        labels.update(pairs)
        self._draft.config["Labels"] = labels
        return "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)

    def _pairs(self, instruction: ins.Env | ins.Label) -> list[tuple[str, str]]:
        """All words of one instruction see the variables as they were before it."""
        place = instruction.place
        pairs = [
            (self._scope.expand(name, place), self._scope.expand(value, place))
            for name, value in instruction.pairs
        ]
        for name, _ in pairs:
            if not name or (isinstance(instruction, ins.Env) and "=" in name):
                place.fail(
                    f"{instruction.keyword} name {name!r} is empty or holds = after expansion"
                )
        return pairs

    @apply.register
    def _cmd(self, instruction: ins.Cmd) -> str:
        words = self._command(instruction.command)
        self._draft.config["Cmd"] = words
        self._has_cmd = True
        return f"CMD {json.dumps(words, ensure_ascii=False)}"

    @apply.register
    def _entrypoint(self, instruction: ins.Entrypoint) -> str:
        words = self._command(instruction.command)
        self._draft.config["Entrypoint"] = words
        # Arguments meant for the base's entrypoint would be nonsense for this one.
        if not self._has_cmd:
            self._draft.config.pop("Cmd", None)
        return f"ENTRYPOINT {json.dumps(words, ensure_ascii=False)}"

    def _command(self, command: ins.Command) -> list[str]:
        if command.shell:
            return [*self._draft.shell(), *command.words]
        return list(command.words)

    @apply.register
    def _workdir(self, instruction: ins.Workdir) -> str:
        path = self._scope.expand(instruction.path, instruction.place)
        if not path:
            instruction.place.fail("WORKDIR is empty after expansion")
        absolute = posixpath.normpath(posixpath.join("/", self._draft.workdir(), path))
        absolute = absolute.replace("//", "/", 1) if absolute.startswith("//") else absolute
        self._draft.config["WorkingDir"] = absolute
        return f"WORKDIR {absolute}"

    @apply.register
    def _user(self, instruction: ins.User) -> str:
        user = self._scope.expand(instruction.user, instruction.place)
        if not user:
            instruction.place.fail("USER is empty after expansion")
        self._draft.config["User"] = user
        return f"USER {user}"

    @apply.register
    def _expose(self, instruction: ins.Expose) -> str:
        ports = dict(self._draft.config.get("ExposedPorts") or {})
        words: list[str] = []
        for word in instruction.ports:
            words += self._scope.expand_words(word, instruction.place)
        for word in words:
            ports.update({key: {} for key in exposed_ports(word, instruction.place)})
        self._draft.config["ExposedPorts"] = {port: {} for port in sorted(ports, key=_port_order)}
        return f"EXPOSE [{' '.join(words)}]"

    @apply.register
    def _volume(self, instruction: ins.Volume) -> str:
        volumes = dict(self._draft.config.get("Volumes") or {})
        paths = [self._scope.expand(path, instruction.place) for path in instruction.paths]
        for path in paths:
            if not path:
                instruction.place.fail("VOLUME is empty after expansion")
            volumes[path] = {}
        self._draft.config["Volumes"] = volumes
        return f"VOLUME [{' '.join(paths)}]"

    @apply.register
    def _stop_signal(self, instruction: ins.StopSignal) -> str:
        name = self._scope.expand(instruction.signal, instruction.place)
        if not _is_signal(name):
            instruction.place.fail(f"unknown signal {name!r}")
        self._draft.config["StopSignal"] = name
        return f"STOPSIGNAL {name}"

    @apply.register
    def _shell(self, instruction: ins.Shell) -> str:
        self._draft.config["Shell"] = list(instruction.words)
        return f"SHELL [{' '.join(instruction.words)}]"

    @apply.register
    def _maintainer(self, instruction: ins.Maintainer) -> str:
        self._draft.document["author"] = instruction.name
        return f"MAINTAINER {instruction.name}"

    @apply.register
    def _healthcheck(self, instruction: ins.Healthcheck) -> str:
        check: dict[str, object] = {"Test": list(instruction.test)}
        for key, value in (
            ("Interval", instruction.interval),
            ("Timeout", instruction.timeout),
            ("StartPeriod", instruction.start_period),
            ("StartInterval", instruction.start_interval),
            ("Retries", instruction.retries),
        ):
            if value:
                check[key] = value
        self._draft.config["Healthcheck"] = check
        return f"HEALTHCHECK {' '.join(instruction.test)}"

    @apply.register
    def _onbuild(self, instruction: ins.OnBuild) -> str:
        self._draft.config["OnBuild"] = [*self._draft.strings("OnBuild"), instruction.trigger]
        return f"ONBUILD {instruction.trigger}"


def exposed_ports(word: str, place: Place) -> list[str]:
    """`80`, `80/udp`, `8000-8002` as config keys (`80/tcp`). Raises DockerfileError.

    A host part (`8080:80`) has no meaning in an image and is dropped, as Docker does.
    """
    match = _PORT.match(word.rsplit(":", 1)[-1])
    if match is None:
        place.fail(f"{word!r} is not a port (80, 80/udp or 8000-8010)")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 0 < low <= high <= 65535:
        place.fail(f"{word!r} is not a port range within 1-65535")
    protocol = (match[3] or "tcp").lower()
    return [f"{port}/{protocol}" for port in range(low, high + 1)]


def _port_order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return (int(number) if number.isdecimal() else 0, protocol)


def _is_signal(name: str) -> bool:
    if name.isascii() and name.isdecimal():
        return 0 < int(name) <= _MAX_SIGNAL
    bare = name.upper().removeprefix("SIG")
    return f"SIG{bare}" in signal.Signals.__members__ or _REALTIME.match(bare) is not None
