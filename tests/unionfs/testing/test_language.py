"""The vocabulary: data that can be stored, run and printed."""

from __future__ import annotations

import inspect

import pytest

from unionfs import UnionError
from unionfs.testing import language as op
from unionfs.testing.calls import Actor

SAMPLES = (
    op.Open(0, "a", "RDWR|CREAT"),
    op.Write(0, "x\n", 3, None, who=2),
    op.Rename("a", "caf\udce9\n", "noreplace|whiteout"),
    op.Start(1, "bin", ("10",)),
    op.Remount(),
    op.RawLower("d/a", 1),
)


def test_sequences_survive_jsonl() -> None:
    assert op.load(op.dump(SAMPLES).splitlines()) == list(SAMPLES)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"op": "format"}', "unknown operation 'format'"),
        ('{"op": "stat", "args": {"file": "a"}}', "missing required field `path`"),
        ('{"op": "stat", "args": {"path": "a", "x": 1}}', "there is no argument 'x'"),
        ('{"op": "stat", "args": {"path": 3}}', "line 1: .*'stat': Expected `str`, got `int`"),
        ('{"op": "stat", "args": {"path": "a"}, "who": 9}', "there is no actor 9"),
        ('{"op": "stat", "args": [1]}', "'stat': 'list' object is not a mapping"),
        ('{"op": "stat"', "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
    ],
)
def test_a_bad_line_is_refused_by_name(line: str, message: str) -> None:
    with pytest.raises(UnionError, match=message):
        op.load([line])


def test_every_operation_is_a_call_of_the_same_arguments() -> None:
    for verb, kind in op.Operation.vocabulary.items():
        if issubclass(kind, op.BenchOperation):
            continue
        wanted = [f for f in inspect.signature(kind).parameters if f != "who"]
        given = list(inspect.signature(getattr(Actor, verb)).parameters)[1:]
        assert wanted == given, verb


def test_the_text_of_an_operation_names_its_actor() -> None:
    assert str(op.Unlink("a", who=3)) == "unlink('a') as actor 3"
    assert str(op.Mkdir("d")) == "mkdir('d', 493)"
