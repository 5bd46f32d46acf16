"""The program put together from the modules of `layertool.cli`."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperGroup

from layertool.errors import UsageError

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

# An ordinary user's store holds files of subordinate ids, which only root of that user's namespace
# can make, read and delete. These commands need no such file, or act on the processes of another
# namespace before they do (and then enter one themselves).
_OUTSIDE_NAMESPACE = frozenset(
    [
        "chroot",
        "commit",
        "context",
        "doctor",
        "exec",
        "kill",
        "login",
        "logout",
        "logs",
        "mount",
        "mounts",
        "pack",
        "ps",
        "rm",
        "stop",
        "umount",
        "unpack",
        "wait",
    ]
)
_EPILOG = "Example: layertool import debian.tar --name debian"


class _Grouped(TyperGroup):
    """Lists the commands by the module they come from, under the first line of its docstring."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        limit = formatter.width - 6 - max(map(len, self.commands), default=0)
        for heading, commands in self._sections().items():
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (command.name or "", command.get_short_help_str(limit))
                        for command in commands
                    ]
                )

    def _sections(self) -> dict[str, list[Command]]:
        sections: dict[str, list[Command]] = {}
        for command in self.commands.values():
            if not command.hidden:
                sections.setdefault(_heading(command), []).append(command)
        return sections


def command() -> Command:
    """The whole program as one command."""
    root = typer.Typer(
        cls=_Grouped,
        help="Run, build and move OCI images without a daemon.",
        epilog=_EPILOG,
        no_args_is_help=True,
        # Plain help: importing rich for it costs more time than all the rest.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    root.callback()(_global_options)
    group = typer.main.get_command(root)
    assert isinstance(group, TyperGroup)
    group.commands = cast("MutableMapping[str, Command]", _Commands(_makers()))
    return group


class _Commands(Mapping[str, "Command"]):
    """Commands by name, each made when it is first asked for.

    To make one, typer looks into the types of a function: for all of them that takes longer than
    most commands run.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Command]]) -> None:
        self._makers = makers
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _makers() -> dict[str, Callable[[], Command]]:
    """What makes each command, and each group of commands, by name."""
    makers: dict[str, Callable[[], Command]] = {}
    for module in _modules():
        for info in module.app.registered_commands:
            name = info.name or typer.main.get_command_name(info.callback.__name__)
            makers[name] = partial(
                typer.main.get_command_from_info,
                info,
                pretty_exceptions_short=True,
                rich_markup_mode=None,
            )
        for group in module.app.registered_groups:
            makers[group.name] = partial(
                typer.main.get_group_from_info,
                group,
                pretty_exceptions_short=True,
                suggest_commands=True,
                rich_markup_mode=None,
            )
    return makers


def _modules() -> Iterator[ModuleType]:
    """The modules that carry commands, by name, which is the order of the help."""
    import layertool.cli

    for found in sorted(pkgutil.iter_modules(layertool.cli.__path__), key=lambda each: each.name):
        module = import_module(f"layertool.cli.{found.name}")
        if isinstance(getattr(module, "app", None), typer.Typer):
            yield module


def _heading(command: Command) -> str:
    origin = getattr(command.callback, "__module__", None)
    doc = (import_module(origin).__doc__ if origin else None) or "Commands"
    return doc.partition("\n")[0].partition(":")[0].rstrip(".")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"layertool {metadata.version('unionfs-layertool')}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The store; default $LAYERTOOL_ROOT, else a directory of the user."
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """The options before the command."""
    if root == "":  # an unset variable of a script: not the current directory
        raise UsageError("--root is empty: name a directory")
    if root is not None:
        # The environment reaches helper processes too; `Store.open()` reads it.
        os.environ["LAYERTOOL_ROOT"] = os.path.abspath(root)
    if os.geteuid() != 0 and context.invoked_subcommand not in _OUTSIDE_NAMESPACE:
        from layertool.sandbox.namespaces import enter_for_files

        enter_for_files()
