"""Secrets, pairs, epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertool.build.options import MAX_SECRET, Secret, parse_pairs
from layertool.errors import LayertoolError, NotFound, UsageError


def test_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"s\x00")
    secret = Secret.parse("id=a,src=f")
    monkeypatch.chdir("/")
    assert (secret.id, secret.read()) == ("a", b"s\x00")


def test_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    assert Secret.parse("id=x,env=TOKEN").read() == b"t"
    assert Secret.parse("id=TOKEN").read() == b"t"
    monkeypatch.delenv("TOKEN")
    with pytest.raises(NotFound, match="no variable TOKEN"):
        Secret.parse("id=x,env=TOKEN").read()


@pytest.mark.parametrize("text", ["", "src=f", "id", "id=", "id=a,foo=b", "id=a,src="])
def test_bad_secrets(text: str) -> None:
    with pytest.raises(UsageError, match="--secret"):
        Secret.parse(text)


def test_missing_and_huge_secrets(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"secret a: .*No such file"):
        Secret.parse(f"id=a,src={tmp_path}/none").read()
    (tmp_path / "big").write_bytes(b"x" * (MAX_SECRET + 1))
    with pytest.raises(LayertoolError, match="more than"):
        Secret.parse(f"id=a,src={tmp_path}/big").read()


def test_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "env")
    monkeypatch.delenv("GONE", raising=False)
    words = ["A=1", "B=", "C=x=y", "HERE", "GONE"]
    given = parse_pairs("--build-arg", words, inherit=True)
    assert given == {"A": "1", "B": "", "C": "x=y", "HERE": "env"}
    with pytest.raises(UsageError, match="--label HERE"):
        parse_pairs("--label", ["HERE"])
    with pytest.raises(UsageError):
        parse_pairs("--label", ["=x"])
