"""One command for several images or containers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from layertool.errors import LayertoolError

_T = TypeVar("_T")


def for_each(names: Sequence[_T], act: Callable[[_T], object]) -> None:
    """Act on each; one that fails keeps none of the others from being done.

    Raises the last failure, after those before it have been printed.
    """
    failed: list[LayertoolError] = []
    for name in names:
        try:
            act(name)
        except LayertoolError as error:
            failed.append(error)
    for earlier in failed[:-1]:
        print(f"layertool: {earlier}", file=sys.stderr)
    if failed:
        raise failed[-1]
