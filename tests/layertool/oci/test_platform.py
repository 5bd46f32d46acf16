"""Platforms: which variant runs where, and the choice in an index."""

import pytest

from layertool.errors import BadImage, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.oci.platform import Platform, choose, fitness, host_platform, parse_platform


@pytest.mark.parametrize(
    ("offered", "wanted", "expected"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64/v2", "linux/amd64/v3", 1),
        ("linux/amd64/v3", "linux/amd64", None),
        ("linux/arm64", "linux/arm64/v8", 0),
        ("linux/arm64/v8", "linux/arm64", 0),
        ("linux/arm/v6", "linux/arm/v7", 1),
        ("linux/arm/v5", "linux/arm/v7", 2),
        ("linux/arm/v7", "linux/arm/v6", None),
        ("windows/amd64", "linux/amd64", None),
        ("linux/s390x", "linux/amd64", None),
        ("linux/ppc64le/power9", "linux/ppc64le/power9", 0),
        ("linux/ppc64le/power9", "linux/ppc64le", None),
    ],
)
def test_fitness(offered: str, wanted: str, expected: int | None) -> None:
    assert fitness(parse_platform(offered), parse_platform(wanted)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("arm64", "linux/arm64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(parse_platform(text)) == expected


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "linux/a b", "/"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(BadImage):
        parse_platform(text)


def _entry(platform: str | None, **more: object) -> Descriptor:
    return Descriptor(
        mediaType="m",
        digest=Digest.of((platform or "").encode()),
        size=1,
        platform=None
        if platform is None
        else Platform(
            **dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        ),
        **more,  # type: ignore[arg-type]
    )


INDEX = [
    _entry("unknown/unknown"),
    _entry("linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
    _entry("linux/arm/v5"),
    _entry("linux/arm/v6"),
    _entry("linux/arm64"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("linux/arm/v7", "linux/arm/v6"), ("linux/arm/v5", "linux/arm/v5"), ("arm64", "linux/arm64")],
)
def test_choose_takes_the_best_that_runs(wanted: str, expected: str) -> None:
    assert str(choose(INDEX, parse_platform(wanted)).platform) == expected


def test_choose_lists_what_exists() -> None:
    with pytest.raises(NotFound, match=r"linux/amd64.*it has: linux/arm/v5, .*linux/arm64"):
        choose(INDEX, parse_platform("linux/amd64"))


def test_an_entry_without_platform_is_inspected_or_taken_when_alone() -> None:
    bare = _entry(None)
    assert choose([bare], host_platform()) is bare
    with pytest.raises(NotFound):
        choose([bare, _entry("linux/s390x")], parse_platform("linux/arm64"))
    found = choose(
        [bare, _entry("linux/s390x")],
        parse_platform("linux/arm64"),
        inspect=lambda _: Platform(os="linux", architecture="arm64"),
    )
    assert found is bare
