"""Cases in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from unionfs import UnionError
from unionfs.testing import casefile
from unionfs.testing import language as op
from unionfs.testing.compare import Case
from unionfs.testing.generate import FIXED
from unionfs.testing.layers import Layers

HEAD = '{"format": "unionfs-lab case 1", "layers": []}'


@pytest.mark.parametrize("layers", FIXED, ids=map(str, range(len(FIXED))))
def test_a_case_survives(layers: Layers, tmp_path: Path) -> None:
    case = Case(layers, (op.Start(0, "a", ("1", "2")), op.Unlink("caf\udce9\n", who=2)))
    path = tmp_path / "case.jsonl"
    path.write_text(casefile.dump(case, "a note\nof two lines"), encoding="ascii")
    assert casefile.read(str(path)) == case


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is not JSON"),
        ("[]", 'it has "format": "unionfs-lab case 1"'),
        (HEAD.replace("[]", "null"), "not the layers of a case: Expected `array`, got `null`"),
        (HEAD.replace("[]", '[[{"path": "a", "kind": "door"}]]'), "Invalid enum value 'door'"),
        (
            HEAD.replace("[]", '[[{"path": 1}]]'),
            r"Expected `str`, got `int` - at `\$\[0\]\[0\].path`",
        ),
        (HEAD + '\n{"op": "format"}', "line 2: unknown operation 'format'"),
        ("é", "is not a case"),
    ],
)
def test_what_is_no_case_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnionError, match=message) as caught:
        casefile.read(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
