"""A whole build: stages in parallel, the target's state as an image."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from layertool.build.context import Source
from layertool.build.draft import Draft
from layertool.build.filehash import FileHashes
from layertool.build.images import Bases, platform_args
from layertool.build.options import Options
from layertool.build.parser import parse_dockerfile
from layertool.build.place import Place
from layertool.build.progress import Reporter
from layertool.build.running import Cancellation, Cancelled
from layertool.build.scope import BuildArgs
from layertool.build.squash import squash
from layertool.build.stagerun import StageInputs, StageRun
from layertool.build.stages import SCRATCH, Graph, Stage, plan, wanted_stage
from layertool.build.step import Services
from layertool.oci.names import Reference

if TYPE_CHECKING:
    from layertool.store import Image, Store


class Builder:
    """One build of one Dockerfile. Use once."""

    def __init__(self, store: Store, source: Source, options: Options, reporter: Reporter) -> None:
        self._store = store
        self._source = source
        self._options = options
        self._reporter = reporter
        self._cancellation = Cancellation()
        self._lock = threading.Lock()
        self._stages: dict[int, Future[Draft]] = {}
        self.file = parse_dockerfile(source.dockerfile, source.name)
        self._bases = Bases(store, options, reporter)
        self._args = BuildArgs(options.build_args, platform_args(options))
        self._graph: Graph = plan(self.file, self._args, options.target)
        self._uncached = {wanted_stage(self.file, name) for name in options.no_cache_stages}

    def build(self, names: Sequence[Reference] = ()) -> Image:
        """Run everything needed and store the image under `names`.

        Raises LayertoolError; Ctrl-C becomes Cancelled once all programs have ended.
        """
        self._announce()
        with (
            self._store.lease(),
            self._store.workspace("download") as downloads,
            FileHashes(self._store.build_directory("hashes") / "hashes.db") as hashes,
        ):
            self._services = Services(
                store=self._store,
                source=self._source,
                hashes=hashes,
                options=self._options,
                cancellation=self._cancellation,
                downloads=downloads,
                find=lambda name, place: self._bases.image(name, place, None),
            )
            draft = self._run_stages()
            if self._options.squash:
                draft = squash(draft, self._services, self._reporter)
            return self._publish(draft, names)

    def _announce(self) -> None:
        for warning in self.file.warnings:
            place = warning.place
            self._reporter.warning(f"{place.file}:{place.line}: {warning.message}")
        for stage in self._graph.skipped():
            self._reporter.note(f"stage {stage.text.label} is not needed, skipped")

    # -- stages

    def _run_stages(self) -> Draft:
        with ThreadPoolExecutor(max_workers=len(self._graph.stages)) as pool:
            self._pool = pool
            try:
                running = [self._stage(index) for index in self._graph.needed]
                wait(running, return_when=FIRST_EXCEPTION)
                self._raise_first(running)
            except BaseException as error:
                self._cancellation.cancel()
                if isinstance(error, KeyboardInterrupt):
                    pool.shutdown(wait=True)
                    raise Cancelled(
                        "interrupted; finished steps are cached, the unfinished left nothing"
                    ) from None
                raise
        return self._stages[self._graph.target].result()

    def _raise_first(self, running: Iterable[Future[Draft]]) -> None:
        """The error that stopped the build, not those of stages that were waiting for it."""
        errors = [future.exception() for future in running if future.done()]
        real = [error for error in errors if error is not None]
        for error in sorted(real, key=lambda error: isinstance(error, Cancelled)):
            raise error

    def _stage(self, index: int) -> Future[Draft]:
        """The stage's result to come; started when nobody has asked for it before."""
        with self._lock:
            if index not in self._stages:
                self._stages[index] = self._pool.submit(self._run_stage, self._graph.stages[index])
            return self._stages[index]

    def _run_stage(self, stage: Stage) -> Draft:
        given = StageInputs(
            stage=stage,
            base=self._base(stage),
            args=self._args,
            globals=self._graph.globals,
            escape=self.file.escape,
            uncached=stage.index in self._uncached,
        )
        services = replace(
            self._services, find=lambda name, place: self._find(name, place, stage.index)
        )
        return StageRun(given, services, self._reporter).run()

    def _base(self, stage: Stage) -> Draft:
        if stage.base_stage is not None:
            return self._stage(stage.base_stage).result().fork()
        if stage.base_image == SCRATCH:
            return self._bases.scratch(stage.platform)
        return self._bases.image(stage.base_image, stage.text.head.place, stage.platform)

    def _find(self, name: str, place: Place, before: int) -> Draft:
        """What `--from=NAME` means in stage number `before`."""
        index = self._graph.find(name, before)
        if index is not None:
            return self._stage(index).result()
        return self._bases.image(name, place, None)

    # -- the result

    def _publish(self, draft: Draft, names: Sequence[Reference]) -> Image:
        if self._options.labels:
            labels = dict(draft.config.get("Labels") or {})
            draft.config["Labels"] = {**labels, **self._options.labels}
        manifest, config = draft.finish()
        self._cancellation.check()
        return self._store.put_image(manifest, config, names=list(names))
