"""The bench of a probe about mounting: layers at chosen names, and the options that are asked about."""

from __future__ import annotations

import os
from types import TracebackType

from unionfs.errors import UnionError
from unionfs.testing import layers as layer_data
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.drivers import Driver, Stack
from unionfs.testing.place import Refused
from unionfs.testing.probes.probe import Probe
from unionfs.testing.script import command

SECOND, TOP = "second", "top"


class Arranged(Bench):
    """A bench that mounts with the options of the probe, in the directory of its layers."""

    def __init__(self, lab: Lab, driver: Driver, probe: Probe) -> None:
        super().__init__(lab, driver, ())
        assert probe.mounting is not None
        self.mounting = probe.mounting
        self.contents = (*probe.layers, *([probe.mounting.work] if probe.mounting.work else ()))
        self.names = (*probe.mounting.names, *(["work"] if probe.mounting.work else ()))
        self.disks: list[str] = []
        self.locked: list[str] = []
        self.first_life = self.place.lives
        own = self._own
        lowers = tuple(f"{own}/{name}" for name in probe.mounting.names)
        self.stack = Stack(lowers, f"{own}/upper", f"{own}/work", f"{own}/mnt")

    @property
    def root(self) -> str:
        """Where programs go."""
        return f"{self._own}/{TOP}" if self.mounting.stacked else self.stack.mountpoint

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
        """Leave nothing behind; the disks are gone with a worker that hung."""
        if self.first_life != self.place.lives:
            self.disks.clear()
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
        try:
            if self.mounting.twice:
                self.mount_again()
            if self.mounting.stacked:
                self.mount_on_top()
        except Refused:
            super().unmount()
            raise

    def mount_again(self) -> None:
        """The same at a second mountpoint."""
        second = f"{self._own}/{SECOND}"
        self.place.call("make_dirs", paths=[second])
        self.call_program(second)
        self.place.call("unmount", mountpoint=second)

    def mount_on_top(self) -> None:
        """Kernel overlayfs, with its upper in the mount."""
        below = self.stack.mountpoint
        self.place.call("make_dirs", paths=[f"{below}/u", f"{below}/w", self.root])
        family = ",userxattr" if self.place.family == "user" else ""
        options = f"lowerdir={self.stack.lowers[0]},upperdir={below}/u,workdir={below}/w{family}"
        self.place.call("mount_kernel", options=options, mountpoint=self.root)

    def unmount(self) -> None:
        """From the top down."""
        if self.mounted and self.mounting.stacked and self.life == self.place.lives:
            self.place.call("dismiss", root=self.root)
            self.place.call("unmount", mountpoint=self.root)
        super().unmount()

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
