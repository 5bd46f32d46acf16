"""Asking one driver one probe."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from unionfs.errors import UnionError
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.drivers import Driver
from unionfs.testing.language import RawLower, RawUpper
from unionfs.testing.place import Hung
from unionfs.testing.probes.answers import Memory
from unionfs.testing.probes.arrange import Arranged
from unionfs.testing.probes.probe import Probe

Kind = Literal["right", "differs", "cannot"]


@dataclass(frozen=True)
class Cell:
    """What came of one probe on one driver; text is what it answered, or why it cannot."""

    kind: Kind
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


def ask(lab: Lab, driver: Driver, probe: Probe) -> Cell:
    """Run a probe on a driver; what fails is part of the answer."""
    reason = impossible(driver, probe)
    if reason is not None:
        return Cell("cannot", reason)
    bench = Arranged(lab, driver, probe) if probe.mounting else Bench(lab, driver, probe.layers)
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(bench)
            except (UnionError, OSError) as error:
                return not_mounted(probe, error)
            return answer(bench, probe)
    except (UnionError, OSError):
        return Cell("differs", "unmount: fails")


def impossible(driver: Driver, probe: Probe) -> str | None:
    """Why a driver cannot be asked, or None."""
    if driver.mount is None and (probe.of_unions or probe.mounting):
        return "has no layers"
    if probe.mounting and "overlay-format" not in driver.traits:
        return "its command line is another"
    entries = [entry for layer in probe.layers for entry in layer]
    if driver.place == "userns":
        if any(name.startswith("trusted.") for entry in entries for name in entry.xattrs):
            return "trusted.* xattrs cannot be set in a user namespace"
        if any(entry.kind in ("char", "block") for entry in entries):
            return "devices cannot be made in a user namespace"
        if probe.mounting and probe.mounting.immutable:
            return "files cannot be made immutable in a user namespace"
    return None


def not_mounted(probe: Probe, error: UnionError | OSError) -> Cell:
    """The answer of a driver that would not mount, or that could not be given its layers."""
    if isinstance(error, OSError):
        return Cell("cannot", f"the layers cannot be made: {error}")
    if isinstance(error, Hung):
        return Cell("differs", "mount: hangs")
    wanted = probe.mounting is None or probe.mounting.right
    return Cell("differs", "mount: refused") if wanted else Cell("right")


def answer(bench: Bench, probe: Probe) -> Cell:
    """The answer of a driver that has mounted."""
    if probe.mounting is not None and not probe.mounting.right:
        return Cell("differs", "mount: works")
    wrong = first_wrong(bench, probe)
    if probe.mounting is None:
        # A driver that changed a layer must not spoil the next probe: it is then built anew.
        bench.changed_lowers()
    return Cell("right") if wrong is None else Cell("differs", wrong)


def first_wrong(bench: Bench, probe: Probe) -> str | None:
    """Do the steps until one has a wrong outcome; answers that outcome."""
    memory: Memory = {}
    for step in probe.steps:
        if bench.driver.mount is None and isinstance(step.operation, (RawUpper, RawLower)):
            continue  # a plain directory has no layers to look into
        try:
            wrong = step.right.wrong(bench.step(step.operation), memory)
        except Hung:
            wrong = "hangs"
        except (UnionError, OSError):
            wrong = "fails"
        if wrong is not None:
            return f"{step.operation.verb}: {wrong}"
    return None
