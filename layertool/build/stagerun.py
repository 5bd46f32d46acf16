"""One stage: its steps in order, each from the cache or run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layertool.build import cache
from layertool.build import instructions as ins
from layertool.build.cache import Input, Record
from layertool.build.copystep import CopyStep
from layertool.build.draft import Draft, Layer
from layertool.build.metadata import Metadata
from layertool.build.parser import parse_trigger
from layertool.build.progress import Reporter, StepLog, StepName
from layertool.build.runstep import RunStep
from layertool.build.scope import BuildArgs, Scope
from layertool.build.stages import SCRATCH, Stage
from layertool.build.step import Services, Step
from layertool.build.workdirstep import WorkdirStep
from layertool.oci.digest import Digest
from layertool.sandbox.process import DEFAULT_PATH


@dataclass(frozen=True, slots=True)
class StageInputs:
    """What a stage gets from the build. `base` is a draft of its own to change."""

    stage: Stage
    base: Draft
    args: BuildArgs
    globals: Scope
    escape: str
    uncached: bool = False  # --no-cache-filter names it


class StageRun:
    """Runs the steps of one stage. Used by one thread."""

    def __init__(self, given: StageInputs, services: Services, reporter: Reporter) -> None:
        self._given = given
        self._services = services
        self._reporter = reporter
        self._draft = given.base
        if "PATH" not in self._draft.env():
            # As docker does, so that `ENV PATH=/opt/bin:$PATH` and the shell find something.
            self._draft.set_env("PATH", DEFAULT_PATH)
        self._scope = Scope(given.escape, env=self._draft.env())
        self._metadata = Metadata(self._draft, self._scope, given.args, given.globals)
        self._first_change: str | None = None
        self._number = 0
        self._total = 0

    def run(self) -> Draft:
        """The state after the last step. Raises LayertoolError."""
        text = self._given.stage.text
        triggers = self._triggers()
        self._total = 1 + len(triggers) + len(text.body)
        self._from()
        for instruction in (*triggers, *text.body):
            self._services.cancellation.check()
            self._instruction(instruction)
        return self._draft

    def _triggers(self) -> list[ins.Instruction]:
        """ONBUILD instructions of the base image: run here, and not inherited further."""
        texts = self._draft.strings("OnBuild")
        self._draft.config.pop("OnBuild", None)
        if self._given.stage.base_stage is not None:
            return []
        origin = f"ONBUILD of {self._given.stage.base_image}"
        return [parse_trigger(text, origin) for text in texts]

    # -- steps

    def _from(self) -> None:
        stage = self._given.stage
        text = f"FROM {stage.base_image}"
        name = self._next_name(text)
        if stage.base_image == SCRATCH:
            self._reporter.cached(name)
            return
        inputs = [Input("base", stage.base_image, self._draft.state_digest())]
        if self._recall(inputs, fresh=True) is not None:
            self._reporter.cached(name)
            return
        self._miss(name, self._site("FROM", ""), inputs)
        self._remember(self._site("FROM", ""), inputs, Record("", None))

    def _instruction(self, instruction: ins.Instruction) -> None:
        match instruction:
            case ins.Run():
                self._layer_step(
                    RunStep(
                        instruction.place,
                        self._services,
                        self._draft,
                        self._scope,
                        instruction,
                        self._given.args,
                    )
                )
            case ins.Copy():
                self._layer_step(
                    CopyStep(
                        instruction.place, self._services, self._draft, self._scope, instruction
                    )
                )
            case ins.Workdir():
                text = self._metadata.apply(instruction)
                self._layer_step(
                    WorkdirStep(instruction.place, self._services, self._draft, self._scope, text)
                )
            case _:
                self._metadata_step(instruction)

    def _layer_step(self, step: Step) -> None:
        name = self._next_name(step.place.short)
        state = self._draft.state_digest()
        inputs = [*([Input("state", "", state)] if step.depends_on_state() else [])]
        inputs += step.inputs()
        self._perform(name, step.created_by, state, inputs, step.make)

    def _metadata_step(self, instruction: ins.Instruction) -> None:
        name = self._next_name(instruction.place.short)
        state = self._draft.state_digest()
        created_by = self._metadata.apply(instruction)
        inputs = [Input("state", "", state), Input("instruction", "", created_by)]
        self._perform(name, created_by, state, inputs, None)

    def _perform(
        self,
        name: StepName,
        created_by: str,
        state: str,
        inputs: list[Input],
        make: Callable[[StepLog], Layer | None] | None,
    ) -> None:
        epoch = self._services.options.epoch
        if epoch is not None:
            inputs.append(Input("setting", "SOURCE_DATE_EPOCH", str(epoch)))
        record = self._recall(inputs)
        if record is not None:
            self._reporter.cached(name)
        else:
            site = self._site(created_by.partition(" ")[0], state)
            self._miss(name, site, inputs)
            record = self._run(name, make)
            self._remember(site, inputs, record)
        self._draft.record(created_by, record.created, record.layer)

    def _run(self, name: StepName, make: Callable[[StepLog], Layer | None] | None) -> Record:
        if make is None:
            return Record(self._services.now(), None)
        log = StepLog(self._reporter, name)
        try:
            layer = make(log)
        except BaseException:
            if not self._services.cancellation.cancelled:
                log.failed()
            raise
        log.finished(None if layer is None else layer.size)
        return Record(self._services.now(), layer)

    # -- the cache

    def _recall(self, inputs: Sequence[Input], *, fresh: bool = False) -> Record | None:
        """A usable record. `fresh` ones are looked up even with --no-cache."""
        if self._cache_refused() and not fresh:
            return None
        found = self._services.store.cached_step(cache.key(inputs))
        record = None if found is None else Record.decode(found)
        if record is None or record.layer is None:
            return record
        layer = record.layer
        store = self._services.store
        complete = store.has_layer(Digest(layer.diff_id)) and store.has_blob(Digest(layer.digest))
        return record if complete else None

    def _cache_refused(self) -> str:
        """The option that keeps this stage from the cache, or nothing."""
        options = self._services.options
        if options.no_cache:
            return "--no-cache"
        return "--no-cache-filter" if self._given.uncached else ""

    def _remember(self, site: str, inputs: Sequence[Input], record: Record) -> None:
        self._services.store.cache_step(
            cache.key(inputs),
            site,
            None if record.layer is None else Digest(record.layer.diff_id),
            record.encode(),
            cache.encode_inputs(inputs),
        )

    def _miss(self, name: StepName, site: str, inputs: Sequence[Input]) -> None:
        self._reporter.started(name, self._why(site, inputs))
        if self._first_change is None:
            self._first_change = f"step {name.number} was not cached either"

    def _why(self, site: str, inputs: Sequence[Input]) -> str:
        refused = self._cache_refused()
        if refused and inputs[0].kind != "base":
            return refused
        before = self._services.store.last_inputs(site)
        if before is not None:
            return cache.why_missed(cache.decode_inputs(before), inputs)
        return self._first_change or "not built before"

    def _site(self, keyword: str, state: str) -> str:
        """Which step of which file this is: where to look for the last time it ran.

        The state is part of it, so that a step is compared with one that started from the same.
        """
        parts = [self._services.source.site, self._given.stage.text.label, keyword, state]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def _next_name(self, text: str) -> StepName:
        self._number += 1
        return StepName(self._given.stage.text.label, self._number, self._total, text)
