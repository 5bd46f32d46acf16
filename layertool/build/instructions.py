"""The instructions of a Dockerfile as values, words not yet expanded."""

from __future__ import annotations

from dataclasses import dataclass, field

from layertool.build.lines import Heredoc
from layertool.build.place import Place


@dataclass(frozen=True, slots=True)
class Command:
    """A command line: `words` of the JSON form, or the single string of the shell form."""

    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """What every instruction has."""

    place: Place

    @property
    def keyword(self) -> str:
        """`RUN`, `COPY`, … as people write it."""
        return type(self).__name__.upper()


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """The head of a stage. `base` and `platform` may hold global ARGs."""

    base: str
    name: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    """Names with their default, None when there is none (`ARG V` differs from `ARG V=`)."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """`legacy` is the form without `=`: one name, the rest of the line is the value."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """One `RUN --mount`. Fields that the type does not use keep their defaults."""

    type: str  # bind, cache, tmpfs, secret
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    read_only: bool = True
    sharing: str = "shared"  # cache: shared, private, locked
    size: int = 0  # tmpfs, bytes; 0 is unlimited
    required: bool = False  # secret
    env: str | None = None  # secret
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()  # unexpanded `--mount` values, checked by the parser
    network: str | None = None  # default, host, none


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """COPY, and with `Add` the flags both share."""

    sources: tuple[str, ...]
    dest: str
    inline: tuple[Heredoc, ...] = ()
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Add(Copy):
    checksum: str | None = None
    unpack: bool | None = None  # None: local archives yes, URLs no


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    name: str


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """`test` as the image config has it (`NONE`, `CMD …`, `CMD-SHELL …`); times in ns, 0 unset."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """`trigger` is the instruction's text, heredoc bodies included, for the image config."""

    trigger: str


@dataclass(frozen=True, slots=True)
class StageText:
    """A FROM and the instructions below it."""

    index: int
    head: From
    body: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """The stage's name, else its number."""
        return self.head.name or str(self.index)


@dataclass(frozen=True, slots=True)
class Warning:
    """Something `--check` reports: legal, but probably not meant."""

    place: Place
    rule: str  # short stable name, for scripts
    message: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    file: str
    escape: str
    globals: tuple[Arg, ...]
    stages: tuple[StageText, ...]
    warnings: tuple[Warning, ...] = ()
    directives: dict[str, str] = field(default_factory=dict)
