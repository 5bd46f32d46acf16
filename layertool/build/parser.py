"""Dockerfile text → `Dockerfile`. Everything layertool cannot do fails here, before a build starts.

Grammar: images.md 2.2 of the project's notes, after BuildKit's frontend/dockerfile/instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layertool.build import instructions as ins
from layertool.build.lines import (
    Heredoc,
    LogicalLine,
    decode,
    parse_heredoc_word,
    read_lines,
)
from layertool.build.mountflag import mount_sources, parse_mount
from layertool.build.place import Place
from layertool.build.words import (
    FlagKind,
    Flags,
    check_flags,
    json_array,
    name_values,
    shell_words,
    split_flags,
    split_keyword,
    whitespace_words,
)

_STAGE_NAME = re.compile(r"^[a-z][a-z0-9_.-]*$")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_CHECKSUM = re.compile(r"^sha256:[0-9a-f]{64}$")
_GIT_SOURCE = re.compile(r"^(git@|git://|ssh://|https?://[^?#]*\.git(?:#|$))")
_OFFICIAL_SYNTAX = re.compile(r"^(docker\.io/)?docker/dockerfile(:[\w.-]+)?(@sha256:\w+)?$")
_NO_ONBUILD = ("ONBUILD", "FROM", "MAINTAINER")


def parse_dockerfile(raw: bytes, file: str = "Dockerfile") -> ins.Dockerfile:
    """Parse a whole file. Raises DockerfileError (file, line, text) or BadImage (not text)."""
    read = read_lines(decode(raw, file), file)
    parser = _Parser(read.escape)
    for line in read.lines:
        parser.add(line)
    if not parser.stages:
        where = read.lines[-1].place if read.lines else Place(file, 1, "")
        where.fail("no FROM instruction in the file")
    blank = [
        ins.Warning(Place(file, number, ""), "NoEmptyContinuation", text)
        for number, text in read.warnings
    ]
    return ins.Dockerfile(
        file=file,
        escape=read.escape,
        globals=tuple(parser.globals),
        stages=tuple(stage.done() for stage in parser.stages),
        warnings=(*_syntax_hint(read.directives, file), *blank, *parser.warnings),
        directives=read.directives,
    )


def parse_trigger(text: str, file: str, escape: str = "\\") -> ins.Instruction:
    """One ONBUILD trigger from a base image's config. `file` names the image in errors."""
    read = read_lines(text, file)
    if len(read.lines) != 1:
        Place(file, 1, text).fail("an ONBUILD trigger must be one instruction")
    parser = _Parser(escape)
    instruction = parser.instruction(read.lines[0])
    if isinstance(instruction, ins.From | ins.OnBuild | ins.Maintainer):
        instruction.place.fail(f"{instruction.keyword} is not allowed as an ONBUILD trigger")
    return instruction


def is_url(source: str) -> bool:
    """Whether an ADD source is fetched rather than read from the context."""
    return source.startswith(("http://", "https://"))


def _syntax_hint(directives: Mapping[str, str], file: str) -> list[ins.Warning]:
    syntax = directives.get("syntax")
    if syntax is None or _OFFICIAL_SYNTAX.match(syntax):
        return []
    message = f"frontend {syntax} is not run; the file is read as an ordinary Dockerfile"
    return [ins.Warning(Place(file, 1, f"# syntax={syntax}"), "CustomFrontend", message)]


@dataclass(slots=True)
class _OpenStage:
    index: int
    head: ins.From
    body: list[ins.Instruction]

    def done(self) -> ins.StageText:
        return ins.StageText(self.index, self.head, tuple(self.body))


@dataclass(frozen=True, slots=True)
class _Line:
    """What an instruction's parse function gets."""

    place: Place
    rest: str  # after keyword and flags
    flags: Flags
    heredocs: tuple[Heredoc, ...]

    def needs_rest(self) -> None:
        if not self.rest:
            self.place.fail("needs at least one argument")

    def no_heredocs(self) -> None:
        if self.heredocs:
            self.place.fail("takes no heredoc here")


class _Parser:
    def __init__(self, escape: str) -> None:
        self._escape = escape
        self.globals: list[ins.Arg] = []
        self.stages: list[_OpenStage] = []
        self.warnings: list[ins.Warning] = []
        self._known: dict[str, tuple[Mapping[str, FlagKind], Callable[[_Line], ins.Instruction]]]
        text, boolean, many = FlagKind.TEXT, FlagKind.BOOL, FlagKind.MANY
        copy_flags = {
            "chown": text, "chmod": text, "link": boolean, "exclude": many, "from": text,
            "parents": boolean,
        }  # fmt: skip
        add_flags = {
            "chown": text, "chmod": text, "link": boolean, "exclude": many, "checksum": text,
            "keep-git-dir": boolean, "unpack": boolean,
        }  # fmt: skip
        health_flags = dict.fromkeys(
            ("interval", "timeout", "start-period", "start-interval", "retries"), text
        )
        run_flags = {"mount": many, "network": text, "security": text, "device": many}
        self._known = {
            "FROM": ({"platform": text}, self._from),
            "ARG": ({}, self._arg),
            "ENV": ({}, self._env),
            "LABEL": ({}, self._label),
            "RUN": (run_flags, self._run),
            "CMD": ({}, self._cmd),
            "ENTRYPOINT": ({}, self._entrypoint),
            "COPY": (copy_flags, self._copy),
            "ADD": (add_flags, self._add),
            "WORKDIR": ({}, self._workdir),
            "USER": ({}, self._user),
            "EXPOSE": ({}, self._expose),
            "VOLUME": ({}, self._volume),
            "STOPSIGNAL": ({}, self._stopsignal),
            "SHELL": ({}, self._shell),
            "MAINTAINER": ({}, self._maintainer),
            "HEALTHCHECK": (health_flags, self._healthcheck),
            "ONBUILD": ({}, self._onbuild),
        }

    # -- structure

    def add(self, line: LogicalLine) -> None:
        """Take the next instruction of the file."""
        instruction = self.instruction(line)
        if isinstance(instruction, ins.From):
            self._open_stage(instruction)
        elif self.stages:
            self._check_copy_from(instruction)
            self.stages[-1].body.append(instruction)
        elif isinstance(instruction, ins.Arg):
            self.globals.append(instruction)
        else:
            line.place.fail("only ARG may stand before the first FROM")

    def instruction(self, line: LogicalLine) -> ins.Instruction:
        """Parse one instruction."""
        keyword, rest = split_keyword(line.text)
        known = self._known.get(keyword.upper())
        if known is None:
            line.place.fail(f"unknown instruction {keyword}")
        if keyword not in (keyword.upper(), keyword.lower()):
            self._warn(line.place, "ConsistentInstructionCasing", f"{keyword} has mixed case")
        flag_kinds, parse = known
        given: list[str] = []
        if flag_kinds:
            given, rest = split_flags(rest, self._escape)
        flags = check_flags(given, flag_kinds, line.place)
        return parse(_Line(line.place, rest.strip(), flags, line.heredocs))

    def _open_stage(self, head: ins.From) -> None:
        if head.name and any(stage.head.name == head.name for stage in self.stages):
            message = f"two stages are named {head.name}; later lines mean the later one"
            self._warn(head.place, "DuplicateStageName", message)
        self.stages.append(_OpenStage(len(self.stages), head, []))

    def _check_copy_from(self, instruction: ins.Instruction) -> None:
        """A stage index must be of an earlier stage; names are resolved when the graph is made."""
        if isinstance(instruction, ins.Copy) and (instruction.from_ or "").isdecimal():
            index = int(instruction.from_ or "")
            if index >= len(self.stages) - 1:
                instruction.place.fail(f"--from={index} is not an earlier stage")

    def _warn(self, place: Place, rule: str, message: str) -> None:
        self.warnings.append(ins.Warning(place, rule, message))

    # -- one function an instruction

    def _from(self, line: _Line) -> ins.Instruction:
        words = line.rest.split()
        name = None
        if len(words) == 3 and words[1].upper() == "AS":
            name = words[2].lower()
            if not _STAGE_NAME.match(name):
                line.place.fail(
                    f"invalid stage name {words[2]!r} (letters first, then a-z 0-9 _ . -)"
                )
        elif len(words) != 1:
            line.place.fail("FROM needs IMAGE or IMAGE AS NAME")
        return ins.From(line.place, words[0], name, line.flags.text("platform"))

    def _arg(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        pairs: list[tuple[str, str | None]] = []
        for word in shell_words(line.rest, self._escape):
            name, equals, default = word.partition("=")
            if not name:
                line.place.fail("ARG names cannot be blank")
            pairs.append((name, default if equals else None))
        return ins.Arg(line.place, tuple(pairs))

    def _env(self, line: _Line) -> ins.Instruction:
        pairs, legacy = self._name_values(line, "ENV")
        return ins.Env(line.place, pairs, legacy)

    def _label(self, line: _Line) -> ins.Instruction:
        pairs, legacy = self._name_values(line, "LABEL")
        return ins.Label(line.place, pairs, legacy)

    def _name_values(self, line: _Line, keyword: str) -> tuple[tuple[tuple[str, str], ...], bool]:
        try:
            pairs, legacy = name_values(line.rest, self._escape, keyword)
        except ValueError as error:
            line.place.fail(str(error))
        if legacy:
            message = f"write {keyword} {pairs[0][0]}=… instead of the old form without ="
            self._warn(line.place, "LegacyKeyValueFormat", message)
        return tuple(pairs), legacy

    def _command(self, line: _Line) -> ins.Command:
        """JSON form if and only if the whole rest is a JSON array of strings."""
        try:
            words = json_array(line.rest)
        except ValueError as error:
            line.place.fail(str(error))
        if words is not None:
            return ins.Command(words, shell=False)
        # `[ "$x" = y ]` is how shells test; only quotes of the wrong kind are surely a mistake.
        if re.match(r"\[\s*'", line.rest):
            message = "looks like JSON but is not (double quotes needed?), so a shell will run it"
            self._warn(line.place, "InvalidJSONForm", message)
        return ins.Command((line.rest,), shell=True)

    def _run(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        command = self._command(line)
        if line.heredocs and not command.shell:
            line.place.fail("the JSON form takes no heredoc")
        if not command.words:
            line.place.fail("RUN needs a command")
        if line.flags.text("security") not in (None, "sandbox"):
            line.place.fail("--security=insecure is not supported: steps always run confined")
        if line.flags.many("device"):
            line.place.fail("--device is not supported")
        network = line.flags.text("network")
        if network not in (None, "default", "host", "none"):
            line.place.fail(f"--network={network} is none of default, host, none")
        mounts = line.flags.many("mount")
        for mount in mounts:
            self._check_mount(mount, line.place)
        return ins.Run(line.place, command, line.heredocs, mounts, network)

    def _check_mount(self, mount: str, place: Place) -> None:
        try:
            mount_sources(mount)
            # With a variable in it, the value can be judged only when it is expanded.
            if "$" not in mount or "type=ssh" in mount:
                parse_mount(mount)
        except ValueError as error:
            place.fail(str(error))

    def _cmd(self, line: _Line) -> ins.Instruction:
        return ins.Cmd(line.place, self._start_command(line))

    def _entrypoint(self, line: _Line) -> ins.Instruction:
        return ins.Entrypoint(line.place, self._start_command(line))

    def _start_command(self, line: _Line) -> ins.Command:
        line.needs_rest()
        command = self._command(line)
        if command.shell:
            message = "the shell form does not forward signals; use the JSON form"
            self._warn(line.place, "JSONArgsRecommended", message)
        return command

    def _copy(self, line: _Line) -> ins.Instruction:
        sources, dest, inline = self._sources(line)
        for source in sources:
            if is_url(source) or _GIT_SOURCE.match(source):
                line.place.fail("COPY takes no URL; use ADD")
        from_ = line.flags.text("from")
        if from_ is not None and ("$" in from_ or not from_):
            line.place.fail("--from cannot hold a variable; name a stage with FROM … AS instead")
        return ins.Copy(
            line.place,
            sources,
            dest,
            inline,
            from_=from_,
            chown=line.flags.text("chown"),
            chmod=line.flags.text("chmod"),
            link=line.flags.is_on("link"),
            parents=line.flags.is_on("parents"),
            exclude=line.flags.many("exclude"),
        )

    def _add(self, line: _Line) -> ins.Instruction:
        sources, dest, inline = self._sources(line)
        if any(_GIT_SOURCE.match(source) for source in sources):
            line.place.fail("ADD from a git repository is not supported; clone it in a RUN step")
        if line.flags.tristate("keep-git-dir") is not None:
            line.place.fail("--keep-git-dir is not supported, as ADD from git is not")
        checksum = line.flags.text("checksum")
        if checksum is not None:
            self._check_checksum(checksum, sources, line.place)
        return ins.Add(
            line.place,
            sources,
            dest,
            inline,
            chown=line.flags.text("chown"),
            chmod=line.flags.text("chmod"),
            link=line.flags.is_on("link"),
            exclude=line.flags.many("exclude"),
            checksum=checksum,
            unpack=line.flags.tristate("unpack"),
        )

    def _check_checksum(self, checksum: str, sources: tuple[str, ...], place: Place) -> None:
        if len(sources) != 1 or not is_url(sources[0]):
            place.fail("--checksum needs exactly one URL")
        if "$" not in checksum and not _CHECKSUM.match(checksum):
            place.fail(f"--checksum={checksum} is not sha256: and 64 hex digits")

    def _sources(self, line: _Line) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
        """Source paths, destination, inline files. The last word is the destination."""
        try:
            words = json_array(line.rest)
        except ValueError as error:
            line.place.fail(str(error))
        if words is None:
            words = _file_words(line.rest)
        if len(words) < 2:
            line.place.fail("needs a source and a destination")
        bodies = {heredoc.word: heredoc for heredoc in line.heredocs}
        sources: list[str] = []
        inline: list[Heredoc] = []
        for word in words[:-1]:
            start = parse_heredoc_word(word)
            if start is None:
                sources.append(word)
            else:
                inline.append(bodies[start.word])
        if parse_heredoc_word(words[-1]) is not None:
            line.place.fail("a heredoc cannot be the destination")
        for heredoc in inline:
            if "/" in heredoc.word or heredoc.word in (".", ".."):
                line.place.fail(f"heredoc name {heredoc.word!r} cannot be a file name")
        return tuple(sources), words[-1], tuple(inline)

    def _workdir(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        return ins.Workdir(line.place, line.rest)

    def _user(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        return ins.User(line.place, line.rest)

    def _expose(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        return ins.Expose(line.place, whitespace_words(line.rest))

    def _volume(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        try:
            words = json_array(line.rest)
        except ValueError as error:
            line.place.fail(str(error))
        paths = tuple(path.strip() for path in words or whitespace_words(line.rest))
        if words == () or not all(paths):
            line.place.fail("VOLUME paths cannot be empty")
        return ins.Volume(line.place, paths)

    def _stopsignal(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        return ins.StopSignal(line.place, line.rest)

    def _shell(self, line: _Line) -> ins.Instruction:
        try:
            words = json_array(line.rest)
        except ValueError as error:
            line.place.fail(str(error))
        if not words:
            line.place.fail('SHELL needs the JSON form, as SHELL ["/bin/bash", "-c"]')
        return ins.Shell(line.place, words)

    def _maintainer(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        message = "MAINTAINER is deprecated; use LABEL org.opencontainers.image.authors=…"
        self._warn(line.place, "MaintainerDeprecated", message)
        return ins.Maintainer(line.place, line.rest)

    def _healthcheck(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        kind, command_text = split_keyword(line.rest)
        if kind.upper() == "NONE":
            if command_text or line.flags.values:
                line.place.fail("HEALTHCHECK NONE takes no arguments")
            return ins.Healthcheck(line.place, ("NONE",))
        if kind.upper() != "CMD":
            line.place.fail(f"unknown HEALTHCHECK type {kind} (CMD or NONE)")
        if not command_text.strip():
            line.place.fail("HEALTHCHECK CMD needs a command")
        command = self._command(_Line(line.place, command_text.strip(), line.flags, ()))
        if not command.words:
            line.place.fail("HEALTHCHECK CMD needs a command")
        return ins.Healthcheck(
            line.place,
            ("CMD-SHELL" if command.shell else "CMD", *command.words),
            interval=_duration(line, "interval"),
            timeout=_duration(line, "timeout"),
            start_period=_duration(line, "start-period"),
            start_interval=_duration(line, "start-interval"),
            retries=_retries(line),
        )

    def _onbuild(self, line: _Line) -> ins.Instruction:
        line.needs_rest()
        keyword, _ = split_keyword(line.rest)
        if keyword.upper() in _NO_ONBUILD:
            line.place.fail(f"{keyword.upper()} is not allowed as an ONBUILD trigger")
        # Parsed now as well, so that a mistake shows here and not in somebody else's build.
        self.instruction(LogicalLine(line.place, line.rest, line.heredocs))
        bodies = "".join(f"\n{doc.body}{doc.word}" for doc in line.heredocs)
        return ins.OnBuild(line.place, line.rest + bodies)


def _file_words(rest: str) -> tuple[str, ...]:
    """COPY's and ADD's words; `<< EOF` with a blank is one word, as in a shell."""
    return whitespace_words(re.sub(r"(^|\s)(\d*<<-?)[ \t]+(?=\S)", r"\1\2", rest))


def _duration(line: _Line, flag: str) -> int:
    """A Go duration (`1m30s`) in ns; zero means the default, so it is allowed."""
    text = line.flags.text(flag)
    if text is None or text == "0":
        return 0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        line.place.fail(f"--{flag}={text} is not a duration such as 30s or 1m30s")
    total = sum(float(number) * _NANOSECONDS[unit] for number, unit in parts)
    if 0 < total < _NANOSECONDS["ms"]:
        line.place.fail(f"--{flag}={text} is less than 1ms")
    return int(total)


def _retries(line: _Line) -> int:
    text = line.flags.text("retries")
    if text is None:
        return 0
    if not text.isdecimal() or len(text) > 9:
        line.place.fail(f"--retries={text} is not a count")
    return int(text)
