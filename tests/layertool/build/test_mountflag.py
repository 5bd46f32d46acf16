"""The value of RUN --mount."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from layertool.build.instructions import Mount
from layertool.build.mountflag import mount_sources, parse_mount


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", Mount("bind", "/x")),
        ("type=bind,source=a,target=/x,rw", Mount("bind", "/x", "a", read_only=False)),
        ("type=bind,src=a,dst=/x,ro=true", Mount("bind", "/x", "a")),
        ("type=bind,destination=/x,readwrite=false", Mount("bind", "/x")),
        ("TYPE=Cache,target=/c", Mount("cache", "/c", read_only=False)),
        (
            "type=cache,id=i,target=/c,sharing=LOCKED,mode=0700,uid=1,gid=2,ro",
            Mount("cache", "/c", id="i", sharing="locked", mode=0o700, uid=1, gid=2),
        ),
        ("type=cache,target=/c,from=b,source=s", Mount("cache", "/c", "s", "b", read_only=False)),
        ("type=tmpfs,target=/t,size=1k", Mount("tmpfs", "/t", size=1024, read_only=False)),
        ("type=tmpfs,target=/t,size=1.5GiB", Mount("tmpfs", "/t", size=3 << 29, read_only=False)),
        ("type=secret,id=s", Mount("secret", id="s")),
        ("type=secret,id=s,env=V,required", Mount("secret", id="s", env="V", required=True)),
        ("type=secret,target=/s,required=false", Mount("secret", "/s")),
        ("", Mount("bind")),
        ("target=/x,z", Mount("bind", "/x")),
        ("type=cache,target=/x,Z,relabel=shared", Mount("cache", "/x", read_only=False)),
        ('type=bind,"source=a,b",target=/x', Mount("bind", "/x", "a,b")),
    ],
)
def test_values(text: str, expected: Mount) -> None:
    assert asdict(parse_mount(text)) == asdict(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type=ssh", "ssh is not supported"),
        ("type=x,target=/", "unknown mount type"),
        ("type=bind,target=/x,id=i", "means nothing"),
        ("type=tmpfs,target=/x,source=y", "means nothing"),
        ("type=secret,id=a,source=b", "not both"),
        ("type=secret,id=a,from=b", "means nothing"),
        ("type=bind,target=/x,ro=perhaps", "neither true nor false"),
        ("type=cache,target=/x,mode=9", "not a number"),
        ("type=cache,target=/x,uid=-1", "not a number"),
        ("type=cache,target=/x,sharing=", "none of"),
        ("type=tmpfs,target=/x,size=-1", "not a size"),
        ("type=bind,target", "must be key=value"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_mount(text)


def test_expansion_is_field_by_field() -> None:
    values = {"$T": "cache", "$D": "/a,type=bind"}
    mount = parse_mount("type=$T,target=$D", lambda word: values.get(word, word))
    assert (mount.type, mount.target) == ("cache", "/a,type=bind")


def test_source_of_a_mount() -> None:
    assert mount_sources("type=bind,from=stage,target=/x") == "stage"
    assert mount_sources("target=/x") is None
    with pytest.raises(ValueError, match="cannot hold a variable"):
        mount_sources("from=$S")
