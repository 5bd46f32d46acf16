"""The behaviour matrix: every probe on every driver, and whether ours answers as recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from unionfs.testing.bench import Lab
from unionfs.testing.drivers import ALL_ON, Driver
from unionfs.testing.probes.probe import Probe
from unionfs.testing.probes.run import Cell, ask

# The columns of docs/semantics.md, the reference first.
COLUMNS: tuple[str, ...] = (
    "directory",
    "kernel",
    f"kernel:{ALL_ON}",
    "kernel@userns",
    "unionfs",
    "unionfs:redirect_dir=off",
    "unionfs@userns",
    "fuse-overlayfs",
    "unionfs-fuse",
)


@dataclass(frozen=True)
class Row:
    """One probe with the cells of all drivers, in their order."""

    probe: Probe
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """What was asked, whom, and what they answered."""

    drivers: tuple[Driver, ...]
    rows: tuple[Row, ...]

    def deviations(self) -> list[str]:
        """Where one of ours does not answer as recorded, as lines for people.

        Recorded is: right, unless the probe declares another answer with its reason. So ours is
        at least as right as the best of each row, or the row says why not.
        """
        return [
            line
            for row in self.rows
            for driver, cell in zip(self.drivers, row.cells, strict=True)
            if "ours" in driver.traits and (line := deviation(row.probe, driver, cell))
        ]


def deviation(probe: Probe, driver: Driver, cell: Cell) -> str | None:
    """How a cell of ours is not what is recorded, or None."""
    if cell.kind == "cannot":
        return None
    declared = probe.declaration(driver.name)
    expected = Cell("differs", declared.answer) if declared else Cell("right")
    if cell == expected:
        return None
    return f"{probe.name} on {driver.name}: {cell}, where {expected} is recorded"


def ask_all(
    lab: Lab,
    drivers: Sequence[Driver],
    probes: Iterable[Probe],
    progress: Callable[[Probe], None] = lambda probe: None,
) -> Matrix:
    """Ask every driver every probe."""
    missing = [driver.missing() for driver in drivers]
    rows = []
    for probe in probes:
        progress(probe)
        cells = [
            Cell("cannot", reason) if reason else ask(lab, driver, probe)
            for driver, reason in zip(drivers, missing, strict=True)
        ]
        rows.append(Row(probe, tuple(cells)))
    return Matrix(tuple(drivers), tuple(rows))
