"""The part of Go's text/template that people write after `inspect --format`.

Text with `{{.A.B}}`, `{{.}}`, `{{json .A}}` and `{{index .A "key" 0}}` in it; values look as Go
prints them. Conditions and loops are refused: `inspect | jq` does that better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from layertool.errors import LayertoolError, UsageError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_PATH = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]*)+|\.")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


def render(template: str, value: Any) -> str:
    """The template with its actions carried out on `value`, a JSON document.

    Raises `UsageError` for what this does not know, `LayertoolError` for a field that is not there.
    """
    return "".join(_parts(template, value))


def _parts(template: str, value: Any) -> Iterator[str]:
    at = 0
    for action in _ACTION.finditer(template):
        yield _plain(template[at : action.start()])
        yield _act(_WORD.findall(action[1]), action[0], value)
        at = action.end()
    yield _plain(template[at:])


def _plain(text: str) -> str:
    if "{{" in text or "}}" in text:
        raise UsageError(f"--format: {text.strip()!r}: a brace without its partner")
    return text


def _act(words: Sequence[str], action: str, value: Any) -> str:
    match words:
        case [path]:
            return _shown(_field(path, action, value))
        case ["json", path]:
            return json.dumps(_field(path, action, value), separators=(",", ":"))
        case ["index", path, *keys]:
            found = _field(path, action, value)
            for key in keys:
                found = _element(found, key, action)
            return _shown(found)
        case _:
            raise _unknown(action)


def _unknown(action: str) -> UsageError:
    return UsageError(
        f"--format: {action}: only {{{{.Path.To.Field}}}}, {{{{json .Field}}}} and"
        ' {{index .Field "key"}} are known; for more, pipe the JSON into jq'
    )


def _field(path: str, action: str, value: Any) -> Any:
    if not _PATH.fullmatch(path):
        raise _unknown(action)
    for name in path[1:].split(".") if path != "." else ():
        if not isinstance(value, dict) or name not in value:
            known = ", ".join(value) if isinstance(value, dict) and value else "no fields"
            raise LayertoolError(f"--format: {action}: there is no {name}; there is: {known}")
        value = value[name]
    return value


def _element(value: Any, word: str, action: str) -> Any:
    """Go's index: an unknown key gives nothing, a number out of range is an error."""
    try:
        key = json.loads(word)
    except ValueError:
        raise _unknown(action) from None
    if isinstance(value, list) and isinstance(key, int):
        if not 0 <= key < len(value):
            raise LayertoolError(f"--format: {action}: there are {len(value)} elements")
        return value[key]
    if (isinstance(value, dict) and isinstance(key, str)) or value is None:
        return (value or {}).get(key, "")
    raise LayertoolError(f"--format: {action}: cannot be indexed by {word}")


def _shown(value: Any) -> str:
    """As Go's fmt prints with %v."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        pairs = (f"{key}:{_shown(value[key])}" for key in sorted(value))
        return f"map[{' '.join(pairs)}]"
    return str(value)
