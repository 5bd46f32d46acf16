"""Cache keys of steps, and why a step missed.

A key is the digest of everything that decides what a step makes: the state it starts from, its
instruction after expansion, and its inputs, one by one. The inputs are kept with the result, so
that a miss can be explained by the first of them that differs from the last time.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from layertool.build.draft import Layer

# Changing what a step makes from the same inputs must change this.
FORMAT = "layertool-build-1"
_SHOWN = 100  # characters of an old value in a reason


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a step depends on. `kind` is one of the names in `_EXPLAIN`."""

    kind: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a step made: the time it was made, and its layer when it made one."""

    created: str
    layer: Layer | None

    def encode(self) -> bytes:
        """For the store."""
        layer = self.layer
        fields = (
            None if layer is None else [layer.media_type, layer.digest, layer.size, layer.diff_id]
        )
        return json.dumps([FORMAT, self.created, fields]).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Record | None:
        """None for a record of another version."""
        try:
            version, created, fields = json.loads(raw)
            if version != FORMAT:
                return None
            return cls(created, None if fields is None else Layer(*fields))
        except (ValueError, TypeError):
            return None


def key(inputs: Sequence[Input]) -> str:
    """The key of a step."""
    return "sha256:" + hashlib.sha256(_canonical(inputs)).hexdigest()


def encode_inputs(inputs: Sequence[Input]) -> bytes:
    """Inputs for the store. Ten thousand files make 1 MB of text, a tenth of that packed."""
    return zlib.compress(_canonical(inputs), 1)


def decode_inputs(raw: bytes) -> list[Input]:
    """The inputs of an earlier build; none when they cannot be read."""
    try:
        return [Input(*fields) for fields in json.loads(zlib.decompress(raw))[1]]
    except (ValueError, TypeError, zlib.error, IndexError):
        return []


def _canonical(inputs: Iterable[Input]) -> bytes:
    fields = [[item.kind, item.name, item.value] for item in inputs]
    # Names may hold surrogates of non-UTF-8 bytes; JSON escapes those when asked for ASCII.
    return json.dumps([FORMAT, fields], separators=(",", ":")).encode()


def why_missed(before: Sequence[Input], now: Sequence[Input]) -> str:
    """The first input of `now` that differs from `before`, in words."""
    known = {(item.kind, item.name): item.value for item in before}
    for item in now:
        old = known.pop((item.kind, item.name), None)
        if old != item.value:
            return _difference(item, old)
    for kind, name in known:
        return f"{_subject(kind, name)} is gone"
    return "its result is no longer in the store"


def _difference(item: Input, old: str | None) -> str:
    subject = _subject(item.kind, item.name)
    if old is None:
        return f"{subject} is new"
    if item.kind == "file":
        return f"{subject}: {_file_difference(old, item.value)}"
    if item.kind in ("arg", "setting"):
        return f"{subject} changed from {_cut(old)!r} to {_cut(item.value)!r}"
    if item.kind == "instruction":
        return f"{subject} changed, it was: {_cut(old)}"
    return f"{subject} changed"


def _subject(kind: str, name: str) -> str:
    return {
        "arg": f"ARG {name}",
        "file": name or ".",
        "setting": name,
        "instruction": "the instruction",
        "state": "the state before this step",
        "base": f"base image {name}",
        "source": f"what {name} refers to",
        "url": name,
    }[kind]


def _file_difference(old: str, new: str) -> str:
    """From two fingerprints (selection.py): what about the file changed."""
    before, after = old.split(" "), new.split(" ")
    if before[0] != after[0]:
        return f"was a {before[0]}, is a {after[0]}"
    if before[0] == "link":
        return "the link's target changed"
    if before[0] == "inline":  # a heredoc
        return "content changed"
    if before[1] != after[1]:
        return f"mode changed from {before[1]} to {after[1]}"
    if before[0] == "file" and before[-1] != after[-1]:
        return "content changed"
    return "owner or attributes changed"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
