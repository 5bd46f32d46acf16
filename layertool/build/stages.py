"""Which stages a build needs, and in which order they can run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from layertool.build.instructions import (
    Copy,
    Dockerfile,
    Instruction,
    OnBuild,
    Run,
    StageText,
)
from layertool.build.mountflag import mount_sources
from layertool.build.scope import BuildArgs, Scope, global_scope
from layertool.errors import NotFound

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage with its FROM expanded."""

    text: StageText
    base_stage: int | None  # index of an earlier stage, else
    base_image: str  # an image name, or "scratch"
    platform: str | None
    needs: frozenset[int]  # stages that must be done first, the base included

    @property
    def index(self) -> int:
        """Position in the file, from 0."""
        return self.text.index


@dataclass(frozen=True, slots=True)
class Graph:
    """All stages, and those that the target needs, in file order."""

    stages: tuple[Stage, ...]
    target: int
    needed: tuple[int, ...]
    globals: Scope

    def find(self, name: str, before: int) -> int | None:
        """The stage that `name` (a name or an index) means in stage `before`; None for an image."""
        return find_stage([stage.text for stage in self.stages[:before]], name)

    def skipped(self) -> list[Stage]:
        """Stages of the file that nothing needs."""
        return [stage for stage in self.stages if stage.index not in self.needed]


def find_stage(earlier: Sequence[StageText], name: str) -> int | None:
    """Index of the stage `name` means among `earlier` ones; the later of two equal names wins."""
    for stage in reversed(earlier):
        if stage.head.name == name.lower():
            return stage.index
    if name.isascii() and name.isdecimal() and int(name) < len(earlier):
        return int(name)
    return None


def wanted_stage(file: Dockerfile, name: str) -> int:
    """Index of the stage that a name or number on the command line means. Raises NotFound."""
    found = find_stage(file.stages, name)
    if found is None:
        names = ", ".join(stage.label for stage in file.stages)
        raise NotFound(f"{file.file}: no stage {name}; its stages are {names}")
    return found


def plan(file: Dockerfile, build: BuildArgs, target: str | None = None) -> Graph:
    """Resolve every FROM and select what `target` (last stage by default) needs.

    Raises NotFound for an unknown target, DockerfileError for a bad FROM.
    """
    scope = global_scope(file.globals, build, file.escape)
    stages = tuple(_stage(text, file.stages, scope) for text in file.stages)
    chosen = len(stages) - 1 if target is None else wanted_stage(file, target)
    return Graph(stages, chosen, tuple(sorted(_closure(stages, chosen))), scope)


def _stage(text: StageText, stages: Sequence[StageText], scope: Scope) -> Stage:
    head = text.head
    base = scope.expand(head.base, head.place)
    if not base:
        head.place.fail("the image name is empty after expansion")
    platform = None if head.platform is None else scope.expand(head.platform, head.place)
    earlier = stages[: text.index]
    # Only names: `FROM 0` is an image called 0.
    named = any(stage.head.name == base.lower() for stage in earlier)
    base_stage = find_stage(earlier, base) if named else None
    needs = set(stage_references(text.body, earlier))
    if base_stage is not None:
        needs.add(base_stage)
    return Stage(text, base_stage, base, platform or None, frozenset(needs))


def stage_references(body: Iterable[Instruction], earlier: Sequence[StageText]) -> set[int]:
    """Indices of the stages that instructions copy or mount from."""
    found = {find_stage(earlier, name) for item in body for name in _sources(item)}
    return {index for index in found if index is not None}


def _sources(item: Instruction) -> list[str]:
    # An ONBUILD trigger runs in somebody else's build, where these stages do not exist.
    if isinstance(item, OnBuild):
        return []
    if isinstance(item, Copy) and item.from_ is not None:
        return [item.from_]
    if isinstance(item, Run):
        return [source for source in map(mount_sources, item.mounts) if source]
    return []


def _closure(stages: Sequence[Stage], target: int) -> set[int]:
    needed: set[int] = set()
    todo = [target]
    while todo:
        index = todo.pop()
        if index not in needed:
            needed.add(index)
            todo += stages[index].needs
    return needed
