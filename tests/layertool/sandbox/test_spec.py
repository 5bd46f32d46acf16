"""The image's config and the flags of `run`, combined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layertool.errors import LayertoolError, UsageError
from layertool.sandbox.spec import ContainerSpec, RunFlags, parse_volume

CONFIG: dict[str, Any] = {
    "Entrypoint": ["/entry", "-x"],
    "Cmd": ["serve"],
    "Env": ["PATH=/bin", "A=image", "EMPTY="],
    "User": "app",
    "WorkingDir": "/srv",
    "Labels": {"one": "1"},
    "StopSignal": "SIGINT",
}


def spec(config: dict[str, Any] = CONFIG, **flags: Any) -> ContainerSpec:
    return ContainerSpec.from_image("debian", config, RunFlags(**flags))


@pytest.mark.parametrize(
    ("config", "flags", "argv"),
    [
        (CONFIG, {}, ["/entry", "-x", "serve"]),
        (CONFIG, {"command": ["other", "-y"]}, ["/entry", "-x", "other", "-y"]),
        (CONFIG, {"entrypoint": "/sh"}, ["/sh"]),
        (CONFIG, {"entrypoint": "/sh", "command": ["-c", "x"]}, ["/sh", "-c", "x"]),
        (CONFIG, {"entrypoint": "", "command": ["ls"]}, ["ls"]),
        ({"Cmd": ["bash"]}, {}, ["bash"]),
        ({"Entrypoint": None, "Cmd": None}, {"command": ["ls"]}, ["ls"]),
        ({}, {}, []),
    ],
)
def test_command(config: dict[str, Any], flags: dict[str, Any], argv: list[str]) -> None:
    assert spec(config, **flags).argv == argv


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=file\nB=file=with=signs\nHANDED\n")
    monkeypatch.setenv("HANDED", "on")
    monkeypatch.delenv("GONE", raising=False)
    made = spec(env_files=[file], env=["C=flag", "B=", "GONE", "EMPTY"])
    assert made.env == {"PATH": "/bin", "A": "file", "B": "", "HANDED": "on", "C": "flag"}


def test_image_values_and_overrides() -> None:
    assert (spec().user, spec().cwd, spec().stop_signal) == ("app", "/srv", "SIGINT")
    made = spec(user="0", workdir="/x", labels=["two=2", "one=flag", "bare"])
    assert (made.user, made.cwd) == ("0", "/x")
    assert made.labels == {"one": "flag", "two": "2", "bare": ""}


def test_nulls_count_as_absent() -> None:
    made = spec(dict.fromkeys(CONFIG))
    assert (made.argv, made.env, made.user, made.cwd) == ([], {}, "", "/")


@pytest.mark.parametrize("flags", [{"network": "bridge"}, {"env": ["=x"]}, {"hostname": "h" * 65}])
def test_nonsense(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        spec(**flags)


def test_volume(tmp_path: Path) -> None:
    assert parse_volume(f"{tmp_path}:/data") == (str(tmp_path), "/data", False)
    assert parse_volume(f"{tmp_path}:/data/../x:ro") == (str(tmp_path), "/x", True)


@pytest.mark.parametrize(
    "text", ["name:/data", "/tmp", "/tmp:relative", "/tmp:/x:rw,z", ":/x", "/tmp:/", "/tmp:/x/.."]
)
def test_bad_volume(text: str) -> None:
    with pytest.raises(UsageError):
        parse_volume(text)


def test_missing_volume_source() -> None:
    with pytest.raises(LayertoolError, match="does not exist"):
        parse_volume("/no/such/source:/x")


def test_record_round_trip(tmp_path: Path) -> None:
    made = spec(volumes=[f"{tmp_path}:/data:ro"], tty=True, network="none").named("abc")
    assert ContainerSpec.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.hostname == "abc"
    assert spec(hostname="mine").named("abc").hostname == "mine"


def test_a_record_that_was_never_written() -> None:
    assert ContainerSpec.from_dict({}).argv == []
