"""Keys, records and the reasons of misses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.build.cache import (
    Input,
    Record,
    decode_inputs,
    encode_inputs,
    key,
    why_missed,
)
from layertool.build.draft import Layer

BASE = [
    Input("state", "", "sha256:1"),
    Input("instruction", "", "COPY . /app"),
    Input("arg", "V", "1"),
    Input("file", "a", "file 644 3 aaa"),
    Input("file", "b/c", "link -> x"),
    Input("setting", "network", "host"),
]


def changed(index: int, value: str) -> list[Input]:
    inputs = list(BASE)
    inputs[index] = Input(inputs[index].kind, inputs[index].name, value)
    return inputs


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (changed(1, "COPY .. /app"), "the instruction changed, it was: COPY . /app"),
        (changed(2, "2"), "ARG V changed from '1' to '2'"),
        (changed(3, "file 755 3 aaa"), "a: mode changed from 644 to 755"),
        (changed(3, "file 644 3 bbb"), "a: content changed"),
        (changed(3, "file 644 4 bbb"), "a: content changed"),
        (changed(3, "dir 755"), "a: was a file, is a dir"),
        (changed(3, "file 644 3 aaa user.x=00"), "a: content changed"),
        (changed(4, "link -> y"), "b/c: the link's target changed"),
        (changed(5, "none"), "network changed from 'host' to 'none'"),
        ([*BASE, Input("file", "d", "dir 755")], "d is new"),
        (BASE[:4] + BASE[5:], "b/c is gone"),
        (BASE, "its result is no longer in the store"),
        (changed(0, "sha256:2"), "the state before this step changed"),
    ],
)
def test_why_missed(now: list[Input], why: str) -> None:
    assert why_missed(BASE, now) == why


def test_a_heredoc_changes_in_content_alone() -> None:
    before, now = [Input("file", "x", "inline 1a")], [Input("file", "x", "inline 2b")]
    assert why_missed(before, now) == "x: content changed"


def test_the_first_difference_is_named() -> None:
    now = [*changed(3, "file 600 3 zzz"), Input("file", "zz", "dir 755")]
    assert why_missed(BASE, now).startswith("a: ")


text = st.text(max_size=8)
inputs = st.lists(
    st.builds(Input, st.sampled_from(["file", "arg", "setting"]), text, text), max_size=5
)


@given(inputs, inputs)
def test_keys_are_equal_only_for_equal_inputs(one: list[Input], other: list[Input]) -> None:
    assert (key(one) == key(other)) == (one == other)


@given(inputs)
def test_inputs_survive_storing(given: list[Input]) -> None:
    assert decode_inputs(encode_inputs(given)) == given


def test_surrogates_in_names() -> None:
    odd = [Input("file", b"\xff".decode("utf-8", "surrogateescape"), "x")]
    assert decode_inputs(encode_inputs(odd)) == odd
    assert key(odd).startswith("sha256:")


@pytest.mark.parametrize("layer", [None, Layer("type", "sha256:a", 5, "sha256:b")])
def test_records_survive_storing(layer: Layer | None) -> None:
    record = Record("2020-01-01T00:00:00Z", layer)
    assert Record.decode(record.encode()) == record


@pytest.mark.parametrize("raw", [b"", b"[]", b'["other","x",null]', b"{", b"null"])
def test_foreign_records_are_misses(raw: bytes) -> None:
    assert Record.decode(raw) is None
    assert decode_inputs(raw) == []
