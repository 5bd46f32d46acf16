"""SOURCE_DATE_EPOCH: what it may be, and what becomes of it."""

import pytest

from layertool.epoch import parse_epoch, timestamp
from layertool.errors import UsageError


def test_given_or_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert parse_epoch() is None
    assert parse_epoch("12") == 12
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "34")
    assert parse_epoch() == 34
    assert parse_epoch("12") == 12


@pytest.mark.parametrize("text", ["-1", "now", "1.5", "٣", "9" * 12])
def test_what_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="seconds"):
        parse_epoch(text)


def test_timestamp() -> None:
    assert timestamp(1_700_000_000) == "2023-11-14T22:13:20Z"
    assert timestamp(int("9" * 11)).startswith("5138-")
    assert timestamp(None) > "2026-"
