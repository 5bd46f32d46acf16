"""ARG and ENV scopes, and what metadata instructions do to the config."""

from __future__ import annotations

from typing import Any

import pytest

from layertool.build.draft import Draft
from layertool.build.metadata import Metadata, exposed_ports
from layertool.build.parser import parse_dockerfile
from layertool.build.place import DockerfileError, Place
from layertool.build.scope import BuildArgs, Scope, global_scope

PLATFORM = {"TARGETARCH": "amd64", "TARGETPLATFORM": "linux/amd64"}


class Applied:
    """A Dockerfile's last stage run for its metadata alone."""

    def __init__(self, text: str, given: dict[str, str] | None = None, **base: Any) -> None:
        file = parse_dockerfile(text.encode())
        args = BuildArgs(given or {}, PLATFORM)
        self.globals = global_scope(file.globals, args, file.escape)
        self.draft = Draft({"config": dict(base)})
        self.scope = Scope(file.escape, env=self.draft.env())
        metadata = Metadata(self.draft, self.scope, args, self.globals)
        self.history = [metadata.apply(item) for item in file.stages[-1].body]

    @property
    def config(self) -> dict[str, Any]:
        return self.draft.config


def env(text: str, given: dict[str, str] | None = None) -> dict[str, str]:
    return Applied("FROM x\n" + text, given).draft.env()


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("ENV A=1 B=$A", {}, {"A": "1", "B": ""}),
        ("ENV A=1\nENV A=2 B=$A\nENV C=$A", {}, {"A": "2", "B": "1", "C": "2"}),
        ("ENV A old value\nENV B=${A}!", {}, {"A": "old value", "B": "old value!"}),
        ("ENV A='$x' B=\"a b\" C=a\\ b", {}, {"A": "$x", "B": "a b", "C": "a b"}),
        ("ARG V=1\nENV A=$V", {}, {"A": "1"}),
        ("ARG V=1\nENV A=$V", {"V": "2"}, {"A": "2"}),
        ("ARG V\nENV A=${V:-none}", {}, {"A": "none"}),
        ("ENV A=$V\nARG V=1", {"V": "2"}, {"A": ""}),
        ("ENV V=env\nARG V=arg\nENV A=$V", {"V": "given"}, {"V": "env", "A": "env"}),
        ("ARG V=arg\nENV V=env\nENV A=$V", {}, {"V": "env", "A": "env"}),
        ("ARG V=1 W=$V\nENV A=$W", {}, {"A": "1"}),
        ("ENV A=$TARGETARCH", {}, {"A": ""}),
        ("ARG TARGETARCH\nENV A=$TARGETARCH", {}, {"A": "amd64"}),
        ("ARG TARGETARCH=x\nENV A=$TARGETARCH", {}, {"A": "x"}),
        ("ENV PATH=/a:$PATH", {}, {"PATH": "/a:"}),
    ],
)
def test_env(text: str, given: dict[str, str], expected: dict[str, str]) -> None:
    assert env(text, given) == expected


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("ARG V=g\nFROM x\nENV A=$V", {}, ""),
        ("ARG V=g\nFROM x\nARG V\nENV A=$V", {}, "g"),
        ("ARG V=g\nFROM x\nARG V=s\nENV A=$V", {}, "s"),
        ("ARG V=g\nFROM x\nARG V=s\nENV A=$V", {"V": "b"}, "b"),
        ("ARG V=g\nARG W=${V}w\nFROM x\nARG W\nENV A=$W", {}, "gw"),
        ("ARG V=g\nARG W=${V}w\nFROM x\nARG W\nENV A=$W", {"V": "b"}, "bw"),
        ("ARG TARGETARCH=mine\nFROM x\nARG TARGETARCH\nENV A=$TARGETARCH", {}, "mine"),
    ],
)
def test_global_args(text: str, given: dict[str, str], expected: str) -> None:
    assert Applied(text, given).draft.env()["A"] == expected


def test_config_of_every_instruction() -> None:
    applied = Applied(
        """FROM x
LABEL a=1 "b c"="d e"
LABEL a=2
WORKDIR /a
WORKDIR b
WORKDIR ../c
USER app:grp
EXPOSE 80 53/UDP 8000-8002
EXPOSE 80/tcp
VOLUME /data ["x"]
VOLUME ["/log"]
STOPSIGNAL SIGRTMIN+3
SHELL ["/bin/bash", "-c"]
CMD echo hi
HEALTHCHECK --interval=1m CMD curl x
ONBUILD RUN y
MAINTAINER Jo
"""
    )
    assert applied.config == {
        "Labels": {"a": "2", "b c": "d e"},
        "WorkingDir": "/a/c",
        "User": "app:grp",
        "ExposedPorts": {
            port: {} for port in ("53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp")
        },
        "Volumes": {"/data": {}, '["x"]'.replace('"', ""): {}, "/log": {}},
        "StopSignal": "SIGRTMIN+3",
        "Shell": ["/bin/bash", "-c"],
        "Cmd": ["/bin/bash", "-c", "echo hi"],
        "Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 60_000_000_000},
        "OnBuild": ["RUN y"],
    }
    assert applied.draft.document["author"] == "Jo"
    assert applied.history[:6] == [
        "LABEL a=1 b c=d e",
        "LABEL a=2",
        "WORKDIR /a",
        "WORKDIR /a/b",
        "WORKDIR /a/c",
        "USER app:grp",
    ]


@pytest.mark.parametrize(
    ("text", "cmd"),
    [
        ('FROM x\nENTRYPOINT ["e"]', None),
        ('FROM x\nCMD ["c"]\nENTRYPOINT ["e"]', ["c"]),
        ('FROM x\nENTRYPOINT ["e"]\nCMD ["c"]', ["c"]),
        ("FROM x\nLABEL a=b", ["base"]),
    ],
)
def test_entrypoint_resets_an_inherited_cmd(text: str, cmd: list[str] | None) -> None:
    assert Applied(text, Cmd=["base"]).config.get("Cmd") == cmd


def test_unknown_fields_and_null_fields_survive() -> None:
    applied = Applied("FROM x\nENV A=1\nLABEL l=1", Env=None, Labels=None, Strange={"x": 1})
    assert applied.config == {"Env": ["A=1"], "Labels": {"l": "1"}, "Strange": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ENV ${X:?not set}=1", "not set"),
        ("ENV '=1", "single-quote"),
        ("WORKDIR $NONE", "empty after expansion"),
        ("USER $NONE", "empty after expansion"),
        ("VOLUME $NONE", "empty after expansion"),
        ("STOPSIGNAL SIGNOPE", "unknown signal"),
        ("STOPSIGNAL 65", "unknown signal"),
        ("EXPOSE http", "not a port"),
        ("EXPOSE 0", "range within"),
        ("EXPOSE 9-8", "range within"),
        ("EXPOSE 70000", "range within"),
        ("LABEL $N=x", "empty or holds ="),
    ],
)
def test_errors(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: .*" + problem):
        Applied("FROM x\n" + text)


def test_a_host_port_is_dropped() -> None:
    assert exposed_ports("127.0.0.1:8080:80", Place("f", 1, "")) == ["80/tcp"]


def test_unset_variables_are_noted() -> None:
    applied = Applied("FROM x\nARG A\nENV B=$A$C")
    assert [name for _, name in applied.scope.unset] == ["C"]


def test_finish_is_stable_and_keeps_the_base() -> None:
    raw = b'{"architecture":"arm64","os":"linux","x-unknown":[1],"container":"gone","config":null}'
    draft = Draft.derive(raw, [], {"name": "b"})
    draft.record("CMD x", "2020-01-01T00:00:00Z", None)
    manifest, config = draft.finish()
    assert (manifest, config) == draft.fork().finish()
    assert b'"x-unknown":[1]' in config
    assert b"gone" not in config
    assert b"org.opencontainers.image.base.name" in manifest


def test_state_digest_ignores_history_and_time() -> None:
    one, other = Draft({"config": {"A": 1}}), Draft({"config": {"A": 1}, "created": "x"})
    other.record("CMD", "2020-01-01T00:00:00Z", None)
    assert one.state_digest() == other.state_digest()
    other.set_env("A", "b")
    assert one.state_digest() != other.state_digest()
