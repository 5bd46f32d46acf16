"""RUN: a command in a container whose changes become the layer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from layertool.build import output
from layertool.build.cache import Input
from layertool.build.duplicates import Duplicates
from layertool.build.instructions import Run
from layertool.build.lines import parse_heredoc_word
from layertool.build.mounts import Mounts, Prepared
from layertool.build.place import DockerfileError
from layertool.build.progress import StepLog
from layertool.build.scope import PREDEFINED, BuildArgs
from layertool.build.step import Step
from layertool.build.workspace import Workspace
from layertool.errors import LayertoolError
from layertool.sandbox import Bind, InitLayer, Process, Tmpfs, enter, run
from layertool.sandbox.process import Network
from layertool.sandbox.runner import start

_SCRIPTS = "/run/layertool-heredoc"
_ID_ERRORS = ("Invalid argument", "Operation not permitted")


class StepFailed(DockerfileError):
    """A RUN command ended with an error. `status` is its exit status."""

    def __init__(self, step: RunStep, status: int, hint: str = "") -> None:
        super().__init__(step.place, f"the command failed with exit status {status}{hint}")
        self.status = status


def _hint(tail: Iterable[str]) -> str:
    """What may be wrong when a command could not have ids that an ordinary user has not.

    The kernel answers EINVAL to chown(2) and setuid(2) of an id that is not mapped, and EPERM to
    setgroups(2).
    """
    if enter() != "single":
        return ""
    if not any(word in line for line in tail for word in _ID_ERRORS):
        return ""
    return (
        " (this build has one id, so nothing in it can belong to or run as another user; ranges in"
        " /etc/subuid and /etc/subgid allow that, see `layertool doctor`)"
    )


@dataclass(slots=True)
class RunStep(Step):
    """One RUN instruction."""

    instruction: Run
    build: BuildArgs
    _mounts: Mounts = field(init=False)

    def __post_init__(self) -> None:
        self._mounts = Mounts(
            self.instruction.mounts, self.place, self.services, self.before, self.scope
        )

    # -- the command

    def _script(self) -> str | None:
        """The body of a lone heredoc that starts with `#!`: it is executed, not passed to a shell."""
        body = self._lone_body()
        return body if body is not None and body.startswith("#!") else None

    def _lone_body(self) -> str | None:
        docs = self.instruction.heredocs
        if len(docs) == 1 and parse_heredoc_word(self.instruction.command.words[0]) is not None:
            return docs[0].content
        return None

    def argv(self) -> list[str]:
        """The command line to execute."""
        command = self.instruction.command
        if not command.shell:
            return list(command.words)
        if self._script() is not None:
            return [f"{_SCRIPTS}/{self.instruction.heredocs[0].word}"]
        body = self._lone_body()
        if body is not None:
            return [*self.before.shell(), body]
        # Other heredocs are the shell's: it gets the whole text again.
        bodies = "".join(f"\n{doc.body}{doc.word}" for doc in self.instruction.heredocs)
        return [*self.before.shell(), command.words[0] + bodies]

    @property
    def created_by(self) -> str:
        args = [
            f"{name}={value}"
            for name, value in self.scope.arg_values().items()
            if name not in PREDEFINED
        ]
        prefix = [f"|{len(args)}", *args] if args else []
        return " ".join(["RUN", *prefix, *self._shown_argv()])

    def _shown_argv(self) -> list[str]:
        script = self._script()
        return [script] if script is not None else self.argv()

    def env(self) -> dict[str, str]:
        """What the command sees: ENV beats ARG, and proxies need no declaration."""
        return {**self.build.proxies(), **self.scope.arg_values(), **self.before.env()}

    def _network(self) -> Network:
        asked = self.instruction.network
        if asked in (None, "default"):
            return self.services.options.network
        return "none" if asked == "none" else "host"

    # -- the key

    def inputs(self) -> Iterator[Input]:
        yield Input("instruction", "", shlex.join(["RUN", *self._shown_argv()]))
        for name, value in self.scope.arg_values().items():
            if name not in PREDEFINED:
                yield Input("arg", name, value)
        yield Input("setting", "network", self._network())
        yield from self._mounts.inputs()

    # -- running

    def fill(self, workspace: Workspace, log: StepLog) -> bool:
        layers = self.services.layer_dirs(self.before)
        with self._mounts.prepared(workspace) as prepared:
            binds = (*prepared.binds, *self._script_bind(workspace))
            init = InitLayer.standard(network=self._network(), mounts=binds)
            with workspace.root(layers, init) as root:
                self._run(root, self._process(prepared, binds), log)
        return True

    def _script_bind(self, workspace: Workspace) -> list[Bind]:
        script = self._script()
        if script is None:
            return []
        file = workspace.room / "script"
        file.write_text(script)
        file.chmod(0o755)
        return [Bind(file, self.argv()[0], read_only=True)]

    def _process(self, prepared: Prepared, binds: tuple[Bind | Tmpfs, ...]) -> Process:
        return Process(
            argv=self.argv(),
            env={**self.env(), **prepared.env},
            cwd=self.before.workdir(),
            user=self.before.text("User"),
            network=self._network(),
            mounts=binds,
        )

    def _run(self, root: Path, process: Process, log: StepLog) -> None:
        status = self._execute(root, process, log)
        self.services.cancellation.check()
        if status == 0:
            return
        if self.services.options.debug_shell:
            self._debug_shell(root, process, log)
        raise StepFailed(self, status, _hint(log.tail))

    def _execute(self, root: Path, process: Process, log: StepLog) -> int:
        reader, writer = os.pipe()
        try:
            running = start(root, replace(process, stdout=writer, stderr=writer))
        except LayertoolError as error:
            os.close(reader)
            self.place.fail(str(error))
        finally:
            os.close(writer)
        with self.services.cancellation.watching(running):
            for line in output.lines(reader):
                log.output(line)
            return running.wait()

    def _debug_shell(self, root: Path, process: Process, log: StepLog) -> None:
        """A shell in the failed step's file system, as the command left it."""
        log.failed()
        log.reporter.note("the step failed; this shell is in it, exit to go on")
        terminal = os.isatty(0)
        shell = Process(
            argv=["/bin/sh"],
            env=process.env,
            cwd=process.cwd,
            user=process.user,
            tty=terminal,
            stdin=True,
            network=process.network,
            mounts=process.mounts,
        )
        run(root, shell)

    def advice(self, found: Duplicates) -> str:
        flag = "--chown" if found.owner_changed else "--chmod"
        return (
            f"{found.describe()}; set it where the files are made: COPY {flag}=…, or in the same"
            " RUN that makes them"
        )
