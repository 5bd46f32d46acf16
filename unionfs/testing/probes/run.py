"""Asking one driver one probe."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from unionfs.errors import UnionError
from unionfs.testing import layers as layer_data
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.drivers import Driver, Stack
from unionfs.testing.language import RawLower, RawUpper
from unionfs.testing.place import Hung, Refused
from unionfs.testing.probes.probe import Memory, Probe
from unionfs.testing.script import command

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
    bench = ProbeBench(lab, driver, probe) if probe.mounting else Bench(lab, driver, probe.layers)
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


class ProbeBench(Bench):
    """A bench that mounts with the options of the probe, in the directory of its layers."""

    def __init__(self, lab: Lab, driver: Driver, probe: Probe) -> None:
        super().__init__(lab, driver, ())
        assert probe.mounting is not None
        self.mounting = probe.mounting
        self.contents = (*probe.layers, *([probe.mounting.work] if probe.mounting.work else ()))
        self.names = (*probe.mounting.names, *(["work"] if probe.mounting.work else ()))
        self.disks: list[str] = []
        self.locked: list[str] = []
        own = self._own
        lowers = tuple(f"{own}/{name}" for name in probe.mounting.names)
        self.stack = Stack(lowers, f"{own}/upper", f"{own}/work", f"{own}/mnt")

    def __enter__(self) -> Bench:
        try:
            self.lay_out()
            return super().__enter__()
        except (UnionError, OSError):
            self.clear()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unmount()
        self.clear()

    def lay_out(self) -> None:
        """Make the layers at the names that the options use."""
        for name in self.mounting.tmpfs:
            disk = f"{self._own}/{name}"
            self.place.call("make_dirs", paths=[disk])
            self.run("mount", "-t", "tmpfs", "tmpfs", disk)
            self.disks.append(disk)
        for name, layer in zip(self.names, self.contents, strict=True):
            root = f"{self._own}/{name}"
            self.place.call("make_dirs", paths=[os.path.dirname(root)])
            text = layer_data.encode((layer,))
            self.place.call("build", root=root, layer=text, family=self.place.family)
        for name in self.mounting.immutable:
            self.run("chattr", "+i", f"{self._own}/{name}")
            self.locked.append(name)

    def clear(self) -> None:
        """Leave nothing behind."""
        while self.locked:
            self.run("chattr", "-i", f"{self._own}/{self.locked.pop()}")
        while self.disks:
            self.place.call("unmount", mountpoint=self.disks.pop())
        self.place.call("remove", path=self._own)

    def run(self, *argv: str) -> None:
        """A program that prepares the layers; OSError when it fails, for no driver is to blame."""
        try:
            self.place.call("mount_program", argv=argv, mountpoint=self._own)
        except Refused as refused:
            raise OSError(str(refused)) from None

    def mount(self) -> None:
        """Call the driver's program as people do; Refused when it will not."""
        self.call_program(self.stack.mountpoint)
        self.life = self.place.lives
        self.mounted = True
        if self.mounting.twice:
            second = f"{self._own}/second"
            self.place.call("make_dirs", paths=[second])
            try:
                self.call_program(second)
            except Refused:
                self.unmount()
                raise
            self.place.call("unmount", mountpoint=second)

    def call_program(self, mountpoint: str) -> None:
        """The command line of the driver, with the options of the probe."""
        fill = {"options": self.mounting.options, "mountpoint": mountpoint}
        program, *words = (word.format(**fill) for word in command(self.driver))
        if "ours" in self.driver.traits:
            # Not a new interpreter, and with the bugs that were planted.
            self.place.call("mount_union", arguments=words, mountpoint=mountpoint, cwd=self._own)
        else:
            argv = [program, *words]
            self.place.call("mount_program", argv=argv, mountpoint=mountpoint, cwd=self._own)
