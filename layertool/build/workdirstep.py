"""WORKDIR's directory, made when the image lacks it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from layertool.build.cache import Input
from layertool.build.copying import Attributes, Writer
from layertool.build.progress import StepLog
from layertool.build.step import Step
from layertool.build.workspace import Workspace, resolve_owner
from layertool.errors import LayertoolError


@dataclass(slots=True)
class WorkdirStep(Step):
    """`text` is the history line; `before` has the new working directory already."""

    text: str

    @property
    def created_by(self) -> str:
        return self.text

    def inputs(self) -> Iterator[Input]:
        yield Input("instruction", "", self.text)

    def fill(self, workspace: Workspace, log: StepLog) -> bool:
        path = self.before.workdir()
        with workspace.root(self.services.layer_dirs(self.before)) as root:
            user = self.before.text("User")
            try:
                # As BuildKit: a directory made for a user belongs to the user.
                owner = resolve_owner(root, user) if user else (0, 0)
                root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    with Writer(root_fd, Attributes(owner)) as writer:
                        return writer.make_directory(path)
                finally:
                    os.close(root_fd)
            except LayertoolError as error:
                self.place.fail(str(error))
