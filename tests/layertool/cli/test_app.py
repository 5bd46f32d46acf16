"""The program as a whole: help, errors, exit statuses, start-up time."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from layertool import cli
from layertool.cli import main
from layertool.cli.app import command
from layertool.errors import LayertoolError, NotFound, UsageError


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _commands(each, (*words, name))
        else:
            yield (*words, name), each


COMMANDS = dict(_commands(command()))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_ends_with_an_example(words: tuple[str, ...]) -> None:
    lines = (COMMANDS[words].help or "").strip().splitlines()
    assert lines[-1].strip().startswith("Example: ")
    assert f"layertool {' '.join(words)}" in lines[-1]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for words in COMMANDS:
        assert f"\n  {words[0]} " in out


def test_help_is_quick() -> None:
    """150 ms, in processor time: the clock of a busy machine says nothing about the program."""
    code = "import sys; from layertool.cli import main; sys.exit(main(['--help']))"
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.15


def test_only_the_command_that_runs_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = typer.main.get_command_from_info

    def noted(info: Any, **options: Any) -> Any:
        made.append(info.callback.__name__)
        return make(info, **options)

    monkeypatch.setattr(typer.main, "get_command_from_info", noted)
    assert main(["doctor", "--help"]) == 0
    assert made == ["doctor"]


def test_start_imports_nothing_heavy() -> None:
    code = (
        "import sys; from layertool.cli.app import command; command();"
        "print(*{'rich', 'msgspec', 'urllib3', 'trio', 'pyfuse3', 'sqlite3', 'isal'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("layertool ")


def test_shell_completion() -> None:
    code = "import sys; from layertool.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "_LAYERTOOL_COMPLETE": "complete_bash",
            "COMP_WORDS": "layertool unp",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "unpack" in done.stdout.split()


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (LayertoolError("went wrong"), 1, "went wrong"),
        (NotFound("no such image: x"), 1, "no such image: x"),
        (UsageError("cannot be both"), 2, "cannot be both"),
        (LayertoolError("cannot start", exit_code=125), 125, "cannot start"),
        (OSError(28, "No space left on device", "/a/b"), 1, "/a/b: No space left on device"),
        (OSError(28, "No space left on device", b"/a/b"), 1, "/a/b: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("a\nbug"), 1, "internal error: ValueError: a bug"),
    ],
)
def test_errors(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Failing:
        def main(self, **_: Any) -> None:
            raise error

    monkeypatch.setattr("layertool.cli.app.command", Failing)
    assert cli.main([]) == status
    err = capsys.readouterr().err
    assert err.startswith(f"layertool: {line}") and err.count("\n") == 1


def test_ctrl_c_while_the_program_is_still_loaded() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "from layertool.cli import main\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "sys.exit(main(['images']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "layertool: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["pack", "--nonsense"], "No such option"),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "--nonsense", "box"], ["run", "--network"], ["exec", "box"], ["exec", "-x"]],
    ids=" ".join,
)
def test_run_and_exec_keep_small_numbers_for_the_command(arguments: list[str]) -> None:
    # As a process of its own: for an ordinary user it moves into a namespace.
    code = "import sys; from layertool.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 125
    assert done.stderr.splitlines()[-1].startswith("layertool: ")
