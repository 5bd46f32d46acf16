"""The stage graph."""

from __future__ import annotations

import pytest

from layertool.build.parser import parse_dockerfile
from layertool.build.place import DockerfileError
from layertool.build.scope import BuildArgs
from layertool.build.stages import plan
from layertool.errors import NotFound

ARGS = BuildArgs({}, {"BUILDPLATFORM": "linux/amd64", "TARGETARCH": "arm64"})
CHAIN = """FROM a AS one
RUN x
FROM one AS two
FROM b AS unused
COPY --from=one / /
FROM c AS three
COPY --from=two /x /
RUN --mount=type=bind,from=unused2,target=/x y
FROM d AS unused2
"""


def needed(text: str, target: str | None = None, args: BuildArgs = ARGS) -> list[int]:
    return list(plan(parse_dockerfile(text.encode()), args, target).needed)


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("FROM a\nFROM b\n", None, [1]),
        ("FROM a\nFROM b\n", "0", [0]),
        ("FROM a AS x\nFROM x\n", None, [0, 1]),
        ("FROM a AS x\nFROM X\n", None, [0, 1]),
        ("FROM a\nFROM b\nCOPY --from=0 / /\n", None, [0, 1]),
        ("FROM a AS x\nFROM b\nCOPY --from=X / /\n", None, [0, 1]),
        ("FROM a\nFROM 0\n", None, [1]),
        ("FROM a AS m\nFROM b\nRUN --mount=from=m,target=/m y\n", None, [0, 1]),
        ("FROM a AS m\nFROM b\nRUN --mount=type=cache,target=/m y\n", None, [1]),
        ("FROM a AS m\nFROM b\nONBUILD COPY --from=m / /\n", None, [1]),
        (CHAIN, None, [4]),
        (CHAIN, "three", [0, 1, 3]),
        (CHAIN, "unused", [0, 2]),
        (CHAIN, "ONE", [0]),
        ("FROM debian AS debian\nFROM debian\n", None, [0, 1]),
    ],
)
def test_only_what_the_target_needs(text: str, target: str | None, expected: list[int]) -> None:
    assert needed(text, target) == expected


def test_a_later_stage_is_an_image() -> None:
    graph = plan(parse_dockerfile(b"FROM a\nCOPY --from=late / /\nFROM b AS late\n"), ARGS, "0")
    assert graph.needed == (0,)
    assert graph.find("late", 0) is None
    assert graph.find("late", 2) == 1


def test_from_expands_globals_and_platforms() -> None:
    text = b"ARG V=1\nARG N=img\nFROM --platform=$BUILDPLATFORM ${N}:${V}-$TARGETARCH\n"
    graph = plan(parse_dockerfile(text), BuildArgs({"V": "2"}, ARGS.platform))
    assert graph.stages[0].base_image == "img:2-arm64"
    assert graph.stages[0].platform == "linux/amd64"


def test_stage_args_are_not_for_from() -> None:
    with pytest.raises(DockerfileError, match="empty after expansion"):
        needed("FROM a\nARG B=b\nFROM $B\n")


def test_unknown_target_lists_the_stages() -> None:
    with pytest.raises(NotFound, match="no stage nope; its stages are x, 1"):
        needed("FROM a AS x\nFROM b\n", "nope")


def test_of_two_stages_with_one_name_the_later_counts() -> None:
    graph = plan(parse_dockerfile(b"FROM a AS x\nFROM b AS x\nFROM x\n"), ARGS)
    assert graph.stages[2].base_stage == 1
