"""`build --check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertool.build.check import check
from layertool.build.context import open_source
from layertool.build.parser import parse_dockerfile
from layertool.build.scope import BuildArgs

ARGS = BuildArgs({}, {"TARGETARCH": "amd64"})


def findings(tmp_path: Path, text: str) -> list[tuple[int, str]]:
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "here").touch()
    (tmp_path / "ignored").touch()
    (tmp_path / ".dockerignore").write_text("ignored\n")
    source = open_source(str(tmp_path))
    found = check(parse_dockerfile(source.dockerfile), source, ARGS)
    return [(warning.place.line, warning.rule) for warning in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FROM a AS x\nARG V=1\nRUN y\nCOPY here /\nCMD ["z"]\n', []),
        ("FROM $NOPE-x\n", [(1, "UndefinedArgInFrom")]),
        ("ARG V=1\nFROM a:$V-$TARGETARCH\n", []),
        ("FROM a AS scratch\n", [(1, "ReservedStageName")]),
        ('FROM a\nCMD ["x"]\nCMD ["y"]\n', [(2, "MultipleInstructionsDisallowed")]),
        ("FROM scratch\nENV A=$B\n", [(2, "UndefinedVar")]),
        ("FROM scratch\nARG B\nENV A=$B C=$PATH\nENV D=$A\n", []),
        ("FROM scratch AS p\nENV A=1\nFROM p\nENV B=$A$C\n", [(4, "UndefinedVar")]),
        ("FROM a\nENV A=$FROM_THE_IMAGE\n", []),
        ("FROM a\nARG DB_PASSWORD\n", [(2, "SecretsUsedInArgOrEnv")]),
        ("FROM a\nENV API_KEY=x TOKENS=3\n", [(2, "SecretsUsedInArgOrEnv")]),
        ("FROM a\nCOPY gone /\n", [(2, "CopyMissingFile")]),
        ("FROM a\nCOPY ignored /\n", [(2, "CopyMissingFile")]),
        ("FROM a\nCOPY *.gone /\n", [(2, "CopyMatchesNothing")]),
        ("FROM a\nCOPY --from=b gone /\nADD https://x/y /\nCOPY $X /\n", []),
        ("FROM a\nMAINTAINER x\nENV a b\n", [
            (2, "MaintainerDeprecated"), (3, "LegacyKeyValueFormat")]),
    ],
)  # fmt: skip
def test_findings(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert findings(tmp_path, text) == expected
