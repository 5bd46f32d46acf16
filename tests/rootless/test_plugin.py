"""The pytest plugin for a user without privileges."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.needs("unprivileged", "fuse", "fuse-overlayfs")


def test_a_user_mounts_what_a_user_may_and_hears_why_not_the_rest(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\naddopts = -ra -p no:cacheprovider\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.overlay_drivers()
        def test_copy_up(union):
            m = union({"etc/conf": "new", "gone": None}, {"etc/conf": "old", "gone": b"x"})
            assert not (m / "gone").exists()
            (m / "etc/conf").write_text("changed")
            m.remount()
            assert (m.upper / "etc/conf").read_text() == "changed"
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*driver kernel: needs root"])
