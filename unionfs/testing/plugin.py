"""pytest plugin: run your own tests on union mounts. See "In your own tests" in docs/lab.md.

Loaded by every pytest of an environment that has unionfs: so it imports nothing but pytest until a
test asks for a mount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from unionfs.testing.drivers import Driver
    from unionfs.testing.mounts import LayerSource, Mounted

MARKER = "overlay_drivers"
DEFAULT = "unionfs"
# What a marker without arguments stands for.
EVERY = ("kernel", "unionfs", "fuse-overlayfs")
REASONS = pytest.StashKey[dict[str, str | None]]()

MakeUnion = Callable[..., "Mounted"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unionfs", "tests on union file systems")
    group.addoption(
        "--overlay-drivers",
        metavar="NAME,...",
        help=f"run tests without the marker {MARKER} on these drivers (default: {DEFAULT})",
    )
    group.addoption(
        "--require-overlay-drivers",
        action="store_true",
        help="a driver that cannot run here is a failure, not a skip; for CI",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REASONS] = {}
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names): run the test once on each of these union drivers, as unionfs-lab "
        f"names them; without names on {', '.join(EVERY)}",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker(MARKER)
    if "overlay_driver" not in metafunc.fixturenames:
        if marker is not None:
            pytest.fail(
                f"{metafunc.definition.nodeid}: {MARKER} is for tests that use the fixture union "
                "or overlay_driver",
                pytrace=False,
            )
        return
    names = marker_names(marker) if marker else option_names(metafunc.config)
    if names:
        metafunc.parametrize("overlay_driver", names, indirect=True)


def marker_names(marker: pytest.Mark) -> Sequence[str]:
    """The drivers that a marker asks for."""
    return [str(name) for name in marker.args] or EVERY


def option_names(config: pytest.Config) -> Sequence[str]:
    """The drivers that the command line asks for; none when it does not say."""
    text: str | None = config.getoption("--overlay-drivers")
    return [name for name in text.split(",") if name] if text else []


@pytest.fixture
def overlay_driver(request: pytest.FixtureRequest) -> Driver:
    """The driver that this run of the test is for.

    Skips the test when it cannot be mounted here; with --require-overlay-drivers that is a failure.
    """
    from unionfs.errors import UnionError
    from unionfs.testing.drivers import parse_driver
    from unionfs.testing.mounts import missing

    try:
        driver = parse_driver(getattr(request, "param", DEFAULT))
    except UnionError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    reasons = request.config.stash[REASONS]
    if driver.name not in reasons:
        reasons[driver.name] = missing(driver)
    reason = reasons[driver.name]
    if reason is not None:
        reason = f"driver {driver.name}: {reason}"
        if request.config.getoption("--require-overlay-drivers"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return driver


@pytest.fixture
def union(overlay_driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeUnion]:
    """Mount unions: ``union({"etc/conf": "text"}, lower_directory)``, layers top first.

    A layer is a directory, a table {path: text, bytes, table or None for a whiteout}, or a list of
    unionfs.testing.layers entries. Further arguments: writable=False for no upper, and options, a
    list for -o. The answer is a path with .upper, .lowers, .remount() and .unmount(). It is
    unmounted after the test however that ends; a mount still in use then is an error.
    """
    from unionfs.errors import UnionError
    from unionfs.testing.mounts import mount

    live: list[Mounted] = []

    def make(*sources: LayerSource, writable: bool = True, options: Sequence[str] = ()) -> Mounted:
        base = Path(tmp_path_factory.mktemp("union"), "u")
        layers = sources or ({},)
        live.append(mount(overlay_driver, layers, base, writable=writable, options=options))
        return live[-1]

    yield make
    failures = []
    for mounted in reversed(live):
        try:
            mounted.unmount()
        except UnionError as error:
            failures.append(str(error))
    if failures:
        pytest.fail("; ".join(failures), pytrace=False)
