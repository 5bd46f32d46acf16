"""Fixtures and rules for every test.

Rules:
- `@pytest.mark.needs("root", "fuse", "overlay", "userns", "subids", "online", "git", …)`: what
  the machine must have (fstest/needs.py; any other name is a program). Missing: the test is
  skipped with the reason; with CI=true it fails, since a skipped proof is no proof.
- `mounted` implies needs("fuse"), `differential` implies needs("root", "overlay").
- A test that mounts takes `mount` or `driver`, and never cleans up by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest
from fstest import drivers, layers, needs
from fstest.drivers import Driver, Mounted, Stack

CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
# A reason that starts so is about the world, not about a lack that somebody could mend.
IMPOSSIBLE = "impossible here: "

IMPLIED_NEEDS = {"mounted": ("fuse",), "differential": ("root", "overlay")}


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and programs under test inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "needs(*names): what the machine must have; see tests/support/fstest/needs.py"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = [str(name) for mark in item.iter_markers("needs") for name in mark.args]
    for marker, implied in IMPLIED_NEEDS.items():
        if item.get_closest_marker(marker):
            wanted.extend(implied)
    for need in dict.fromkeys(wanted):
        reason = needs.missing(need)
        if reason is not None:
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a skip is a failure, unless its reason is IMPOSSIBLE."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        if IMPOSSIBLE not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: with CI=true this must not be skipped: {reason}"
    return report


@pytest.fixture
def make_layer(tmp_path: Path) -> Callable[[str, layers.Table], Path]:
    """Make the layer directory NAME from a table (see fstest.layers); its path."""

    def make(name: str, table: layers.Table) -> Path:
        path = tmp_path / "layers" / name
        layers.build(path, table)
        return path

    return make


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> Driver:
    """The union under test: ours, or the one that an indirect parametrisation names.

    @pytest.mark.parametrize("driver", ["unionfs", "kernel", "fuse-overlayfs"], indirect=True)
    """
    chosen = drivers.DRIVERS[getattr(request, "param", "unionfs")]
    reason = chosen.missing()
    if reason is not None:
        pytest.skip(reason)
    return chosen


@pytest.fixture
def mount(driver: Driver, tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """Mount layers with the driver; undone at the end of the test, however it ends.

    mount(lowers, upper=True, options=(), driver=None) -> Mounted. `upper` is True (fresh
    directories), a path (its work directory is made next to it), or False (read-only view).
    """
    live: list[Mounted] = []

    def start(
        lowers: Sequence[Path],
        *,
        upper: bool | Path = True,
        options: Sequence[str] = (),
        driver: Driver = driver,
    ) -> Mounted:
        number = len(live)
        point = tmp_path / "mountpoints" / str(number)
        point.mkdir(parents=True)
        up = tmp_path / "uppers" / str(number) if upper is True else upper or None
        work = up.with_name(up.name + ".work") if up else None
        for directory in (up, work):
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
        stack = Stack(tuple(lowers), up, work, tuple(options))
        mounted = drivers.mount(driver, stack, point)
        live.append(mounted)
        return mounted

    yield start
    failures = []
    for mounted in reversed(live):
        try:
            mounted.unmount()
        except RuntimeError as error:
            failures.append(str(error))
    assert not failures, failures
