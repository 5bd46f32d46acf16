"""Some jobs at a time; the first that fails stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from layertool.transport.registry.retry import Cancelled


def run_all(jobs: Sequence[Callable[[], None]], *, width: int, stop: Callable[[], None]) -> None:
    """Run all jobs, `width` at a time in threads, and return when all are through.

    On a failure, or Ctrl-C, `stop` is called, which must make the running ones end soon; then the
    failure that came first is raised.
    """
    with ThreadPoolExecutor(width, thread_name_prefix="layertool") as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failures = [error for future in done if (error := future.exception())]
            if failures:
                # The stopped ones say only that; the one that began it is what people must see.
                raise min(failures, key=lambda error: isinstance(error, Cancelled))
        except BaseException:
            for future in futures:
                future.cancel()
            stop()
            raise
