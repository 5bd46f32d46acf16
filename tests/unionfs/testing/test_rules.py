"""The declared differences match what the drivers really answer."""

from __future__ import annotations

import errno

import pytest

from unionfs.testing import language as op
from unionfs.testing.drivers import parse_driver
from unionfs.testing.rules import find_quirk


@pytest.mark.parametrize(
    ("operation", "code", "name"),
    [
        (op.Open(0, ".", "RDWR|TMPFILE"), errno.EOPNOTSUPP, "no O_TMPFILE"),
        (op.Fallocate(0, "allocate", 0, 1), errno.EOPNOTSUPP, "no fallocate"),
        (op.GetFlags("a"), errno.ENOTTY, "no inode flags"),
    ],
)
def test_what_pyfuse3_lacks_is_declared(operation: op.Operation, code: int, name: str) -> None:
    kernel, ours = parse_driver("kernel").traits, parse_driver("unionfs").traits
    answers = {"result": None}, {"errno": errno.errorcode[code]}
    quirk = find_quirk(operation, *answers, kernel, ours)
    assert quirk is not None
    assert quirk.name == name
