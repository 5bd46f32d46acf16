"""The parser: a corpus of whole files with step lists written by hand, and a table of errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.build import instructions as ins
from layertool.build.parser import parse_dockerfile, parse_trigger
from layertool.build.place import DockerfileError
from layertool.errors import BadImage

CORPUS = Path(__file__).with_name("corpus")
NAMES = sorted(path.stem for path in CORPUS.glob("*.Dockerfile"))


def test_the_corpus_is_there() -> None:
    assert len(NAMES) >= 60
    assert sorted(path.stem for path in CORPUS.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    raw = (CORPUS / f"{name}.Dockerfile").read_bytes()
    expected = json.loads((CORPUS / f"{name}.json").read_text())
    assert [stage(found) for found in parse_dockerfile(raw).stages] == expected


def stage(text: ins.StageText) -> dict[str, Any]:
    """A stage in the form of the expected lists."""
    head = {"from": text.head.base, "as": text.head.name, "platform": text.head.platform}
    steps = [step(instruction) for instruction in text.body]
    return {key: value for key, value in head.items() if value is not None} | {"steps": steps}


def step(instruction: ins.Instruction) -> list[Any]:
    words = list(_words(instruction))
    options = dict(_options(instruction))
    return [instruction.keyword, *words, *([options] if options else [])]


def _words(item: ins.Instruction) -> Iterator[Any]:
    match item:
        case ins.Arg(pairs=pairs):
            yield from (name if value is None else f"{name}={value}" for name, value in pairs)
        case ins.Env(pairs=pairs) | ins.Label(pairs=pairs):
            yield from (f"{name}={value}" for name, value in pairs)
        case ins.Run(command=command) | ins.Cmd(command=command) | ins.Entrypoint(command=command):
            yield command.words[0] if command.shell else list(command.words)
        case ins.Copy(sources=sources, dest=dest):
            yield from (list(sources), dest)
        case ins.Workdir(path=text) | ins.User(user=text) | ins.StopSignal(signal=text):
            yield text
        case ins.Expose(ports=words) | ins.Volume(paths=words):
            yield from words
        case ins.Shell(words=words) | ins.Healthcheck(test=words):
            yield list(words)
        case ins.Maintainer(name=text) | ins.OnBuild(trigger=text):
            yield text
        case _:
            raise AssertionError(item)


def _options(item: ins.Instruction) -> Iterator[tuple[str, Any]]:
    names = {
        ins.Run: ("mounts", "network"),
        ins.Copy: ("chown", "chmod", "link", "parents", "exclude"),
        ins.Add: ("chown", "chmod", "link", "exclude", "checksum"),
        ins.Healthcheck: ("interval", "timeout", "start_period", "start_interval", "retries"),
    }.get(type(item), ())
    for name in names:
        value = getattr(item, name)
        if value:
            yield name, list(value) if isinstance(value, tuple) else value
    if isinstance(item, ins.Copy) and item.from_ is not None:
        yield "from", item.from_
    if isinstance(item, ins.Add) and item.unpack is not None:
        yield "unpack", item.unpack
    docs = (
        item.heredocs
        if isinstance(item, ins.Run)
        else item.inline
        if isinstance(item, ins.Copy)
        else ()
    )
    if docs:
        yield "docs", {_doc_name(doc): doc.content for doc in docs}


def _doc_name(doc: Any) -> str:
    quote = "" if doc.expand else "'"
    return f"{'-' if doc.strip_tabs else ''}{quote}{doc.word}{quote}"


# (file, line, part of the message)
ERRORS = [
    ("", 1, "no FROM"),
    ("# only a comment\n", 1, "no FROM"),
    ("ARG A\n", 1, "no FROM"),
    ("RUN echo\n", 1, "only ARG may stand before"),
    ("FROM a\n\nRUNN x\n", 3, "unknown instruction RUNN"),
    ("FROM\n", 1, "FROM needs IMAGE"),
    ("FROM a b\n", 1, "FROM needs IMAGE"),
    ("FROM a AS 1x\n", 1, "invalid stage name '1x'"),
    ("FROM a AS x/y\n", 1, "invalid stage name"),
    ("FROM --os=x a\n", 1, "unknown flag --os"),
    ("FROM a\nRUN\n", 2, "at least one argument"),
    ("FROM a\nRUN []\n", 2, "RUN needs a command"),
    ("FROM a\nRUN [1]\n", 2, "only strings"),
    ("FROM a\nRUN <<EOF\nx\n", 2, "heredoc is not ended by a line EOF"),
    ("FROM a\nRUN --mount=type=ssh true\n", 2, "ssh is not supported"),
    ("FROM a\nRUN --mount=type=nfs,target=/x true\n", 2, "unknown mount type 'nfs'"),
    ("FROM a\nRUN --mount=type=bind,target=/x,from=$S true\n", 2, "from= cannot hold a variable"),
    ("FROM a\nRUN --mount=type=cache,target=/x,sharing=no true\n", 2, "none of shared"),
    ("FROM a\nRUN --mount=type=tmpfs,target=/x,size=big true\n", 2, "not a size"),
    ("FROM a\nRUN --mount=type=secret true\n", 2, "needs id or target"),
    ("FROM a\nRUN --mount=type=bind,target=/x,bogus true\n", 2, "must be key=value"),
    ("FROM a\nRUN --mount=type=bind,target=/x,uid=1 true\n", 2, "means nothing for type bind"),
    ("FROM a\nRUN --mount=type=cache,target=/x,uid=4294967295 true\n", 2, "not a number from 0"),
    ("FROM a\nRUN --security=insecure true\n", 2, "insecure is not supported"),
    ("FROM a\nRUN --device=x true\n", 2, "--device is not supported"),
    ("FROM a\nRUN --network=bridge true\n", 2, "none of default, host, none"),
    ("FROM a\nRUN --network=none --network=host true\n", 2, "given twice"),
    ("FROM a\nCOPY x\n", 2, "a source and a destination"),
    ("FROM a\nCOPY --from= x /\n", 2, "--from"),
    ("FROM a\nCOPY --from=$S x /\n", 2, "cannot hold a variable"),
    ("FROM a\nCOPY --from=1 x /\n", 2, "not an earlier stage"),
    ("FROM a\nCOPY --from=0 x /\n", 2, "not an earlier stage"),
    ("FROM a\nCOPY --link=maybe x /\n", 2, "true or false"),
    ("FROM a\nCOPY --chown x /\n", 2, "needs a value"),
    ("FROM a\nCOPY https://x/y /\n", 2, "takes no URL"),
    ("FROM a\nCOPY x <<EOF\nEOF\n", 2, "cannot be the destination"),
    ("FROM a\nCOPY <<../x /\n../x\n", 2, "cannot be a file name"),
    ("FROM a\nADD git@github.com:x/y.git /\n", 2, "git repository is not supported"),
    ("FROM a\nADD https://github.com/x/y.git#v1 /\n", 2, "git repository is not supported"),
    ("FROM a\nADD --keep-git-dir=true x /\n", 2, "not supported"),
    ("FROM a\nADD --checksum=sha256:1 https://x/y /\n", 2, "64 hex digits"),
    ("FROM a\nADD --checksum=sha256:1 y /\n", 2, "exactly one URL"),
    ("FROM a\nENV\n", 2, "at least one argument"),
    ("FROM a\nENV a\n", 2, "a name and a value"),
    ("FROM a\nENV a=1 b\n", 2, "not of the form name=value"),
    ("FROM a\nENV a=1 =b\n", 2, "cannot be blank"),
    ("FROM a\nARG =b\n", 2, "cannot be blank"),
    ("FROM a\nSHELL /bin/bash -c\n", 2, "JSON form"),
    ("FROM a\nSHELL []\n", 2, "JSON form"),
    ("FROM a\nVOLUME []\n", 2, "cannot be empty"),
    ("FROM a\nHEALTHCHECK RUN x\n", 2, "unknown HEALTHCHECK type RUN"),
    ("FROM a\nHEALTHCHECK CMD\n", 2, "needs a command"),
    ("FROM a\nHEALTHCHECK NONE x\n", 2, "takes no arguments"),
    ("FROM a\nHEALTHCHECK --interval=5 CMD x\n", 2, "not a duration"),
    ("FROM a\nHEALTHCHECK --interval=1us CMD x\n", 2, "less than 1ms"),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD x\n", 2, "not a count"),
    ("FROM a\nONBUILD\n", 2, "at least one argument"),
    ("FROM a\nONBUILD FROM b\n", 2, "not allowed as an ONBUILD trigger"),
    ("FROM a\nONBUILD ONBUILD RUN x\n", 2, "not allowed as an ONBUILD trigger"),
    ("FROM a\nONBUILD RUN --mount=type=ssh x\n", 2, "ssh is not supported"),
    ("FROM a\nONBUILD NOPE x\n", 2, "unknown instruction NOPE"),
    ("# escape=x\nFROM a\n", 1, "escape must be"),
    ("# escape=\\\n# escape=`\nFROM a\n", 2, "only one escape"),
    ("FROM a\nRUN x \\\n y \\\n\nBAD z\n", 2, None),
]


@pytest.mark.parametrize(("text", "line", "problem"), ERRORS)
def test_errors_name_file_line_and_text(text: str, line: int, problem: str | None) -> None:
    if problem is None:  # a blank line inside a continuation swallows the next instruction
        assert len(parse_dockerfile(text.encode()).stages[0].body) == 1
        return
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text.encode(), "sub/Dockerfile")
    message = str(caught.value)
    assert message.startswith(f"sub/Dockerfile:{line}: ")
    assert problem in message
    assert "\n" not in message
    if text.strip() and not text.startswith("# only"):
        assert message.endswith(text.split("\n")[line - 1].strip()[:100])


@pytest.mark.parametrize("raw", [b"FROM a\n\0", b"FROM \xff\xfe\n", b"#" * (5 << 20)])
def test_not_a_dockerfile(raw: bytes) -> None:
    with pytest.raises(BadImage, match=r"^Dockerfile: "):
        parse_dockerfile(raw)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("FROM a\nMAINTAINER x\n", "MaintainerDeprecated"),
        ("FROM a\nENV a b\n", "LegacyKeyValueFormat"),
        ("FROM a\nCMD x\n", "JSONArgsRecommended"),
        ("FROM a\nCMD ['x']\n", "InvalidJSONForm"),
        ("FROM a\nRun x\n", "ConsistentInstructionCasing"),
        ("FROM a\nRUN x \\\n\n y\n", "NoEmptyContinuation"),
        ("# syntax=evil/frontend\nFROM a\n", "CustomFrontend"),
        ("FROM a AS x\nFROM b AS x\n", "DuplicateStageName"),
    ],
)
def test_warnings(text: str, rule: str) -> None:
    assert rule in [warning.rule for warning in parse_dockerfile(text.encode()).warnings]


def test_a_clean_file_has_no_warnings() -> None:
    text = b'# syntax=docker/dockerfile:1\nFROM a AS x\nRUN y\nCMD ["z"]\n'
    assert parse_dockerfile(text).warnings == ()


def test_trigger() -> None:
    trigger = parse_trigger("RUN <<EOF\nx\nEOF", "image node")
    assert isinstance(trigger, ins.Run)
    assert trigger.heredocs[0].body == "x\n"


@pytest.mark.parametrize("text", ["FROM x", "RUN a\nRUN b", "ONBUILD RUN x", ""])
def test_bad_trigger(text: str) -> None:
    with pytest.raises(DockerfileError, match=r"^image node:1: "):
        parse_trigger(text, "image node")


pieces = st.sampled_from(
    ["FROM a", "RUN ", "COPY ", "ENV ", "<<EOF", "EOF", "\\", "\n", " ", "--mount=", "type=", "$A",
     "${", "}", '"', "'", "[", "]", "#", "ONBUILD ", "HEALTHCHECK CMD ", "=", ",", "\t", "x"]
)  # fmt: skip


@given(st.lists(pieces, max_size=25).map("".join))
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    try:
        parse_dockerfile(("FROM a\n" + text).encode())
    except DockerfileError as error:
        assert "\n" not in str(error)
