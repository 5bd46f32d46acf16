"""What steps have in common, and what they may ask of the build they belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layertool.build.cache import Input
from layertool.build.context import Source
from layertool.build.draft import Draft, Layer
from layertool.build.duplicates import Duplicates, find_duplicates
from layertool.build.filehash import FileHashes
from layertool.build.options import Options
from layertool.build.place import Place
from layertool.build.progress import StepLog
from layertool.build.running import Cancellation
from layertool.build.scope import Scope
from layertool.build.workspace import Workspace
from layertool.epoch import timestamp
from layertool.oci.digest import Digest

if TYPE_CHECKING:
    from layertool.store import NewLayer, Store


@dataclass(frozen=True, slots=True)
class Services:
    """The build around a step. `find` resolves `--from`: a stage, an index or an image.

    `downloads` is scratch space for what ADD fetches.
    """

    store: Store
    source: Source
    hashes: FileHashes
    options: Options
    cancellation: Cancellation
    find: Callable[[str, Place], Draft]
    downloads: Path

    def layer_dirs(self, draft: Draft) -> list[Path]:
        """The unpacked layers of a draft, top first."""
        return [self.store.layer_dir(Digest(layer.diff_id)) for layer in reversed(draft.layers)]

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """Scratch space for one step, gone with everything in it afterwards."""
        with self.store.workspace("build") as room:
            yield Workspace(room, self.options.driver)

    def now(self) -> str:
        """The time that history entries get, RFC 3339."""
        return timestamp(self.options.epoch)

    def commit(self, workspace: Workspace) -> Layer:
        """Pack a workspace's upper into a layer of the store."""
        self.cancellation.check()
        return layer_of(self.store.commit_layer(workspace.upper, epoch=self.options.epoch))


def layer_of(new: NewLayer) -> Layer:
    """A layer of the store as drafts name it."""
    descriptor = new.descriptor
    return Layer(descriptor.mediaType, descriptor.digest, descriptor.size, new.diff_id)


@dataclass(slots=True)
class Step(ABC):
    """A step that makes a layer. `before` and `scope` are as the instruction finds them."""

    place: Place
    services: Services
    before: Draft
    scope: Scope

    def depends_on_state(self) -> bool:
        """Whether the layer depends on layers and config before; `COPY --link` says no."""
        return True

    @property
    @abstractmethod
    def created_by(self) -> str:
        """The history line."""

    @abstractmethod
    def inputs(self) -> Iterable[Input]:
        """Everything the layer depends on besides the state before."""

    @abstractmethod
    def fill(self, workspace: Workspace, log: StepLog) -> bool:
        """Do the step's work in the workspace; False when there is nothing for a layer."""

    def make(self, log: StepLog) -> Layer | None:
        """Run the step: its layer, published in the store. Raises LayertoolError."""
        self.services.cancellation.check()
        with self.services.workspace() as workspace:
            if not self.fill(workspace, log):
                return None
            found = find_duplicates(workspace.upper, self.services.layer_dirs(self.before))
            layer = self.services.commit(workspace)
        if found is not None:
            log.reporter.warning(f"{self.place.file}:{self.place.line}: {self.advice(found)}")
        return layer

    def advice(self, found: Duplicates) -> str:
        """What to tell about files stored again; subclasses know the fix."""
        return found.describe()
