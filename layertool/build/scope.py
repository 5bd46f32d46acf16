"""Variables: which ARG and ENV values an instruction sees.

ARG before the first FROM is global: FROM lines see it, a stage only after declaring it again.
ENV beats an ARG of the same name. Proxies may be passed without being declared, and then stay out
of history and of cache keys, so that a build behind another proxy still hits the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from layertool.build.expand import ExpandError, Lexer
from layertool.build.instructions import Arg
from layertool.build.place import Place

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset([*_PROXIES, *(name.lower() for name in _PROXIES)])


@dataclass(frozen=True, slots=True)
class BuildArgs:
    """`--build-arg` values and what the builder itself defines."""

    given: Mapping[str, str]
    platform: Mapping[str, str]  # TARGETPLATFORM and its kin

    def proxies(self) -> dict[str, str]:
        """The predefined arguments that were given: RUN sees them undeclared."""
        return {name: value for name, value in self.given.items() if name in PREDEFINED}


@dataclass(slots=True)
class Scope:
    """The variables at one point of a stage (or of the globals, with no `env`)."""

    escape: str = "\\"
    args: dict[str, str | None] = field(default_factory=dict)  # declared; None has no value
    env: dict[str, str] = field(default_factory=dict)
    unset: list[tuple[Place, str]] = field(default_factory=list)  # references without a value

    def visible(self) -> dict[str, str]:
        """What `$NAME` sees."""
        return {**self.arg_values(), **self.env}

    def arg_values(self) -> dict[str, str]:
        """The declared arguments that have a value."""
        return {name: value for name, value in self.args.items() if value is not None}

    def expand(self, word: str, place: Place, *, heredoc: bool = False) -> str:
        """One word. `heredoc`: the body of an unquoted heredoc, where quotes are text.

        Raises DockerfileError at `place`.
        """
        # Heredocs are read as a shell would, whatever `# escape=` says.
        lexer = Lexer("\\" if heredoc else self.escape, literal_quotes=heredoc)
        try:
            return lexer.word(word, self.visible())
        except ExpandError as error:
            place.fail(str(error))
        finally:
            self._note_unset(lexer, place)

    def expand_words(self, text: str, place: Place) -> list[str]:
        """A text that may become several words, as EXPOSE's. Raises DockerfileError."""
        lexer = Lexer(self.escape)
        try:
            return lexer.words(text, self.visible())
        except ExpandError as error:
            place.fail(str(error))
        finally:
            self._note_unset(lexer, place)

    def _note_unset(self, lexer: Lexer, place: Place) -> None:
        self.unset += [(place, name) for name in sorted(lexer.unset - self.args.keys())]

    def declare(self, arg: Arg, build: BuildArgs, outer: Mapping[str, str | None]) -> None:
        """Run an ARG instruction; `outer` are the global arguments.

        The value is that of --build-arg, else the default here, the global, the platform's.
        """
        for raw_name, default in arg.pairs:
            name = self.expand(raw_name, arg.place)
            if name in build.given:
                self.args[name] = build.given[name]
            elif default is not None:
                self.args[name] = self.expand(default, arg.place)
            else:
                self.args[name] = outer.get(name, build.platform.get(name))


def global_scope(args: Iterable[Arg], build: BuildArgs, escape: str) -> Scope:
    """The scope of FROM lines: global ARGs, and the platform's without declaring."""
    scope = Scope(escape, args=dict(build.platform))
    for arg in args:
        scope.declare(arg, build, build.platform)
    return scope
