"""Where an instruction stands in its Dockerfile, and the errors that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from layertool.build.text import visible
from layertool.errors import LayertoolError

# Longer instructions (RUN with twenty continuation lines) are cut in messages, never in history.
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Place:
    """An instruction's file, first line (from 1) and joined text."""

    file: str
    line: int
    text: str

    def fail(self, problem: str) -> NoReturn:
        """Raise the one-line error of this place."""
        raise DockerfileError(self, problem)

    @property
    def short(self) -> str:
        """The text on one line, cut to what fits in a message."""
        text = visible(" ".join(self.text.split()))
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class DockerfileError(LayertoolError):
    """The Dockerfile is wrong, or asks for what layertool does not do: `FILE:LINE: why: TEXT`."""

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(f"{place.file}:{place.line}: {problem}: {place.short}")
        self.place = place
        self.problem = problem
