"""The time that makes things reproducible: SOURCE_DATE_EPOCH (reproducible-builds.org)."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from layertool.errors import UsageError

_MAX_DIGITS = 11  # the year 5138; datetime ends in 9999


def parse_epoch(text: str | None = None) -> int | None:
    """`text`, else $SOURCE_DATE_EPOCH, in seconds; None when there is neither.

    No time in what is made may be later. Raises UsageError for what is no number.
    """
    text = text or os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_DIGITS:
        raise UsageError(f"SOURCE_DATE_EPOCH {text}: must be seconds since 1970")
    return int(text)


def timestamp(epoch: int | None) -> str:
    """The time of creation that configs and their history get, RFC 3339."""
    moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
