"""The `layertool` program.

To add commands, put a module here with `app = typer.Typer()` and commands on it: every module of
this package is found and merged (`layertool.cli.app`). Its top imports typer and
`layertool.errors` only; the rest is imported inside the commands, because `layertool --help` must
answer at once. A command's docstring ends with a line `Example: …`.
"""

from __future__ import annotations

# Nothing that takes time, not even typing: Ctrl-C meanwhile is answered with a traceback.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with `arguments`, those of the process when None; returns its exit status.

    The one place where errors become a line on stderr and a number.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> int:
    from layertool.errors import LayertoolError

    try:
        from layertool.cli.app import command

        status = command().main(
            args=None if arguments is None else list(arguments),
            prog_name="layertool",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except LayertoolError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        return _fail(_one_line(error), 1)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    """A wrong command line (typer's errors carry a message for people), else a bug of ours."""
    show = getattr(error, "format_message", None)
    if show is not None:
        context = getattr(error, "ctx", None)
        if context is not None:
            print(context.get_usage(), file=sys.stderr)
        return _fail(show(), getattr(error, "exit_code", 2))
    if type(error).__name__ == "Abort":
        return _fail("interrupted", _INTERRUPTED)
    if os.environ.get("LAYERTOOL_DEBUG"):
        import traceback

        traceback.print_exc()
    return _fail(
        f"internal error: {type(error).__name__}: {_one_line(error)}; "
        "please report it, with the output of the same command under LAYERTOOL_DEBUG=1",
        1,
    )


def _fail(message: str, status: int) -> int:
    print(f"layertool: {message}", file=sys.stderr)
    return status


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        return f"{name}: {error.strerror}" if name not in (None, "") else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _reader_left() -> int:
    """`layertool images | head -1` is no failure worth words; stdout must not be flushed again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
