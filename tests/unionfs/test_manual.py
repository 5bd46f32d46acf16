"""The manuals are those of the option table, and the files made from them are up to date."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs import manual
from unionfs.options import OPTIONS
from unionfs.version import VERSION

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("form", [manual.man_page, manual.markdown_table, manual.help_table])
def test_each_form_names_every_option(form: Callable[[], str]) -> None:
    text = form().replace("\\-", "-").replace("\\|", "|")
    assert [o.name for o in OPTIONS if o.kind.syntax(o.name) not in text] == []


def test_the_man_page_in_the_repository_is_up_to_date() -> None:
    assert (ROOT / "docs" / "unionfs.1").read_text() == manual.man_page(), (
        "run: python -m unionfs.options --man > docs/unionfs.1"
    )


def test_the_table_in_the_readme_is_up_to_date() -> None:
    assert manual.markdown_table() in (ROOT / "README.md").read_text(), (
        "put the output of python -m unionfs.options --markdown into README.md"
    )


def test_the_version_is_that_of_the_package() -> None:
    assert f'\nversion = "{VERSION}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.needs("man")
def test_the_man_page_formats_without_a_complaint() -> None:
    command = ["man", "--warnings", "--local-file", str(ROOT / "docs" / "unionfs.1")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MOUNT OPTIONS" in done.stdout


@pytest.mark.parametrize(
    ("flag", "form"), [("--man", manual.man_page), ("--markdown", manual.markdown_table)]
)
def test_the_module_prints_each_form(flag: str, form: Callable[[], str]) -> None:
    command = [sys.executable, "-m", "unionfs.options", flag]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == form()


def test_the_module_explains_a_wrong_flag() -> None:
    command = [sys.executable, "-m", "unionfs.options"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m unionfs.options --man | --markdown")
