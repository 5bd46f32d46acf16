"""Cases in files: JSONL, the layers on the first line and an operation on each further one.

A case is a program: it does what it says as root, so read one from a stranger before running it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from unionfs.errors import UnionError
from unionfs.testing import language, layers
from unionfs.testing.compare import Case

FORMAT = "unionfs-lab case 1"


def dump(case: Case, note: str = "") -> str:
    """The text of a case; note is for people."""
    head = {"format": FORMAT, "note": note, "layers": json.loads(layers.encode(case.layers))}
    return json.dumps(head) + "\n" + language.dump(case.operations)


def load(lines: Iterable[str]) -> Case:
    """The case of a text; UnionError names what is wrong with it."""
    first, *rest = lines or [""]
    try:
        head = json.loads(first)
    except ValueError as error:
        raise UnionError(f"line 1 is not JSON: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UnionError(f'line 1 is not the head of a case: it has "format": "{FORMAT}"')
    stack = layers.decode(json.dumps(head.get("layers")))
    return Case(stack, tuple(language.load(rest, first=2)))


def read(path: str) -> Case:
    """The case of a file; UnionError names the file and what is wrong with it."""
    try:
        with open(path, encoding="ascii") as file:
            return load(file.readlines())
    except UnicodeDecodeError:
        raise UnionError(f"{path} is not a case: JSON with \\u escapes is plain ASCII") from None
    except UnionError as error:
        raise UnionError(f"{path}: {error}") from None
