"""`build --check`: what is legal in a Dockerfile but probably not meant. Nothing is run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from layertool.build import instructions as ins
from layertool.build.context import Source
from layertool.build.gopath import BadPattern, has_wildcards
from layertool.build.instructions import Dockerfile, StageText, Warning
from layertool.build.parser import is_url
from layertool.build.scope import BuildArgs, Scope, global_scope
from layertool.build.stages import find_stage, plan
from layertool.build.tree import Tree
from layertool.errors import LayertoolError

_SECRET = re.compile(
    r"(^|_)(password|passwd|secret|token|api_?key|access_?key|private_?key|credentials?)($|_)",
    re.IGNORECASE,
)
# Every image's or shell's: a reference is no mistake although nothing here sets it.
_USUAL = frozenset(["PATH", "HOME", "HOSTNAME", "PWD", "SHELL", "USER", "LANG", "TERM"])
_RESERVED = ("context", "scratch")
_ONCE = (ins.Cmd, ins.Entrypoint, ins.Healthcheck)


def check(file: Dockerfile, source: Source, args: BuildArgs) -> list[Warning]:
    """All findings, in the order of the file. Raises DockerfileError for what cannot be built."""
    plan(file, args)
    found = [*file.warnings, *_globals(file, args)]
    with source.open_tree() as tree:
        for stage in file.stages:
            found += _stage_name(stage)
            found += _repeated(stage)
            found += _variables(file, stage, args)
            for item in stage.body:
                found += _secrets(item)
                found += _sources(item, tree)
    return sorted(found, key=lambda warning: warning.place.line)


def _globals(file: Dockerfile, args: BuildArgs) -> Iterator[Warning]:
    scope = global_scope(file.globals, args, file.escape)
    for stage in file.stages:
        scope.unset.clear()
        scope.expand(stage.head.base, stage.head.place)
        for place, name in scope.unset:
            yield Warning(place, "UndefinedArgInFrom", f"{name} is no ARG before the first FROM")


def _stage_name(stage: StageText) -> Iterator[Warning]:
    if stage.head.name in _RESERVED:
        yield Warning(
            stage.head.place, "ReservedStageName", f"{stage.head.name} has a meaning of its own"
        )


def _repeated(stage: StageText) -> Iterator[Warning]:
    counts = Counter(item.keyword for item in stage.body if isinstance(item, _ONCE))
    for item in stage.body:
        if counts[item.keyword] > 1:
            counts[item.keyword] -= 1
            message = f"only the last {item.keyword} of a stage counts"
            yield Warning(item.place, "MultipleInstructionsDisallowed", message)


def _variables(file: Dockerfile, stage: StageText, args: BuildArgs) -> Iterator[Warning]:
    """References to what neither ARG nor ENV of the stage, or of those below it, defines."""
    known = _inherited(file, stage)
    if known is None:
        return  # the base image's environment is unknown until it is there
    scope = Scope(file.escape, env=dict.fromkeys(known, "x"))
    outer = global_scope(file.globals, args, file.escape)
    for item in stage.body:
        scope.unset.clear()
        for word in _expanded_words(item):
            try:
                scope.expand(word, item.place)
            except LayertoolError:
                continue  # ${V:?…} and the like depend on values
        for place, name in scope.unset:
            if name not in _USUAL:
                yield Warning(place, "UndefinedVar", f"${name} is set by no ARG or ENV before")
        if isinstance(item, ins.Arg):
            scope.declare(item, args, outer.args)
        elif isinstance(item, ins.Env):
            scope.env.update(dict.fromkeys([name for name, _ in item.pairs], "x"))


def _inherited(file: Dockerfile, stage: StageText) -> set[str] | None:
    """ENV names from the stages below; None when those end in an image."""
    names: set[str] = set()
    while stage.head.base != "scratch":
        below = find_stage(file.stages[: stage.index], stage.head.base)
        if below is None:
            return None
        stage = file.stages[below]
        for item in stage.body:
            if isinstance(item, ins.Env):
                names.update(name for name, _ in item.pairs)
    return names


def _expanded_words(item: ins.Instruction) -> list[str]:
    match item:
        case ins.Env(pairs=pairs) | ins.Label(pairs=pairs):
            return [value for _, value in pairs]
        case ins.Arg(pairs=pairs):
            return [value for _, value in pairs if value is not None]
        case ins.Copy():
            return [*item.sources, item.dest, item.chown or "", item.chmod or ""]
        case ins.Workdir(path=word) | ins.User(user=word) | ins.StopSignal(signal=word):
            return [word]
        case ins.Expose(ports=words) | ins.Volume(paths=words):
            return list(words)
        case _:
            return []


def _secrets(item: ins.Instruction) -> Iterator[Warning]:
    names: list[str] = []
    if isinstance(item, ins.Env | ins.Arg):
        names = [name for name, _ in item.pairs]
    for name in names:
        if _SECRET.search(name):
            message = f"{name} would stay readable in the image; use RUN --mount=type=secret"
            yield Warning(item.place, "SecretsUsedInArgOrEnv", message)


def _sources(item: ins.Instruction, tree: Tree) -> Iterator[Warning]:
    """Sources of COPY and ADD that the context has not, or hides."""
    if not isinstance(item, ins.Copy) or item.from_ is not None:
        return
    for source in item.sources:
        if "$" in source or (isinstance(item, ins.Add) and is_url(source)):
            continue
        try:
            if not item.parents and not tree.glob(source) and has_wildcards(source):
                yield Warning(item.place, "CopyMatchesNothing", f"{source} matches no file")
        except (LayertoolError, BadPattern) as error:
            yield Warning(item.place, "CopyMissingFile", str(error))
