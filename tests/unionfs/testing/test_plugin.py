"""The pytest plugin, in a pytest of its own, as another project would have it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
mounts = pytest.mark.needs("root", "fuse", "overlay")

EVERY = ("kernel", "unionfs", "fuse-overlayfs")


@pytest.fixture(autouse=True)
def another_project(pytester: pytest.Pytester) -> None:
    """A project without a configuration, whose pytest loads the plugin by its entry point."""
    pytester.makeini("[pytest]\naddopts = --strict-markers -ra -p no:cacheprovider\n")


def live_mounts() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return [line.split()[4] for line in table if "/pytest-of-" in line and "/union" in line]


@mounts
def test_a_marked_test_runs_on_every_driver_it_names(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.overlay_drivers("kernel", "unionfs", "fuse-overlayfs")
        def test_copy_up(union, overlay_driver):
            m = union({"etc": {"conf": "new"}, "gone": None}, {"etc/conf": "old", "gone": b"x"})
            assert m.driver.name == overlay_driver.name
            assert (m / "etc/conf").read_text() == "new"
            assert not (m / "gone").exists()
            (m / "etc/conf").write_text("changed")
            assert (m.upper / "etc/conf").read_text() == "changed"
            assert (m.lowers[0] / "etc/conf").read_text() == "new"
            m.remount()
            assert (m / "etc/conf").read_text() == "changed"
        """
    )
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"*test_copy_up?{name}? PASSED*" for name in EVERY])
    assert live_mounts() == []


@mounts
def test_without_a_marker_ours_or_what_the_command_line_says(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_name(overlay_driver):
            print("driver", overlay_driver.name)
        """
    )
    pytester.runpytest_subprocess("-s").stdout.fnmatch_lines(["*driver unionfs*"])
    chosen = "--overlay-drivers=kernel,unionfs:redirect_dir=off"
    both = pytester.runpytest_subprocess("-s", chosen)
    both.assert_outcomes(passed=2)
    both.stdout.fnmatch_lines(["*driver kernel*", "*driver unionfs:redirect_dir=off*"])


@mounts
def test_layers_may_be_directories_and_lab_entries_and_the_union_read_only(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import errno, os, pytest
        from unionfs.testing.layers import directory, symlink

        def test_it(union, tmp_path):
            (tmp_path / "mine").mkdir()
            (tmp_path / "mine/file").write_text("mine")
            m = union([directory("d", 0o700), symlink("d/link", "../file")], tmp_path / "mine",
                      writable=False)
            assert (m / "d/link").read_text() == "mine"
            assert (m / "d").stat().st_mode & 0o777 == 0o700
            assert m.upper is None
            with pytest.raises(OSError) as caught:
                (m / "file").write_text("x")
            assert caught.value.errno == errno.EROFS
            assert (tmp_path / "mine/file").read_text() == "mine"

        def test_two_at_once(union):
            one, two = union({"a": "1"}), union({"a": "2"}, options=["redirect_dir=off"])
            assert os.path.samefile(one, one.path)
            assert [(m / "a").read_text() for m in (one, two)] == ["1", "2"]
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


@mounts
def test_a_union_is_unmounted_however_the_test_ends(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal

        def test_fails(union):
            union({"a": "1"})
            assert False

        def test_stays_inside(union):
            os.chdir(union({"a": "1"}))

        def test_kills_the_daemon(union):
            m = union({"a": "1"})
            for pid in m.daemons():
                os.kill(pid, signal.SIGKILL)

        KEPT = []

        def test_keeps_a_file_open(union):
            KEPT.append(open(union({"a": "1"}) / "a"))
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*<unionfs at *> was still in use; close files*"])
    assert live_mounts() == []


MISSING = """
import pytest

@pytest.mark.overlay_drivers("fuse-overlayfs")
def test_it(union):
    union({})
"""


@mounts
def test_a_missing_driver_is_a_skip_with_the_reason_or_a_failure(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(MISSING)
    monkeypatch.setenv("PATH", "/nowhere")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*driver fuse-overlayfs: fuse-overlayfs is not installed"])
    required = pytester.runpytest_subprocess("--require-overlay-drivers")
    required.assert_outcomes(errors=1)
    required.stdout.fnmatch_lines(["*driver fuse-overlayfs: fuse-overlayfs is not installed*"])


WRONG = {
    "a driver nobody knows": (
        "@pytest.mark.overlay_drivers('nofs')\ndef test_it(union): union()",
        ".*unknown driver 'nofs'; known are kernel.*",
    ),
    "a driver of another namespace": (
        "@pytest.mark.overlay_drivers('kernel@userns')\ndef test_it(union): union()",
        ".*kernel@userns: only unionfs-lab can use it: a test mounts where it runs",
    ),
    "a marker without a fixture": (
        "@pytest.mark.overlay_drivers()\ndef test_it(): pass",
        ".*test_it: overlay_drivers is for tests that use the fixture union or overlay_driver",
    ),
    "a layer that cannot be written into an option": (
        "def test_it(union): union('/a:b')",
        ".*layer /a:b: move it to a path without : , and backslash",
    ),
    "a mount that is refused": (
        "def test_it(union): union(options=['redirect_dir=maybe'])",
        ".*unionfs cannot mount: .*redirect_dir.*maybe.*",
    ),
}


@mounts
@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(pytester: pytest.Pytester, name: str) -> None:
    source, said = WRONG[name]
    pytester.makepyfile("import pytest\n" + source)
    result = pytester.runpytest_subprocess("--require-overlay-drivers")
    assert result.ret != 0
    result.stdout.re_match_lines([said])
    assert live_mounts() == []


def test_pytest_of_another_project_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_modules(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("unionfs")
            assert not {"pyfuse3", "trio", "hypothesis"} & sys.modules.keys()
            ours = {name for name in sys.modules if name.startswith("unionfs.testing.")}
            assert ours == {"unionfs.testing.plugin"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)
