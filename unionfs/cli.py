"""The ``unionfs`` program: reads the command line, hands a mount to the session.

Nothing here imports trio or pyfuse3 before a mount is really wanted, so that ``--version`` and a
refusal answer at once.
"""

from __future__ import annotations

import getopt
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from unionfs.errors import UnionError
from unionfs.options import MountOptions, idle_options, parse_options
from unionfs.version import VERSION

SUCCESS, FAILURE = 0, 1
"""Exit statuses: 0 once the mount answers (with -f: once it is unmounted), 1 otherwise."""

USAGE = """\
usage: unionfs [SOURCE] MOUNTPOINT -o lowerdir=DIR[:DIR...][,upperdir=DIR,workdir=DIR][,OPTION...]

Mount a stack of directories as one. The top lower layer comes first; changes go to upperdir.

  -o OPTION[,OPTION...]  mount options; may be given several times
  -f, --foreground       stay in the foreground until unmounted
  -d, --debug            as -f, and log what happens
  --strict               refuse unknown options instead of warning about them
  --stats                the same as -o stats
  -h, --help             show this help
  -V, --version          show the version
"""

EXAMPLES = """\
Examples:
  unionfs -o lowerdir=top:middle:base,upperdir=up,workdir=wk /mnt    read-write
  unionfs -o lowerdir=top:base /mnt                                  read-only
  mount -t fuse.unionfs none /mnt -o lowerdir=base,upperdir=up,workdir=wk
  fusermount3 -u /mnt                                                unmount, or umount /mnt

Exits with 0 once the mount answers, with 1 and one line on stderr otherwise.
"""

_SELINUX = "/sys/fs/selinux"


@dataclass(slots=True)
class Command:
    """What the command line asks for."""

    words: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """The arguments of each ``-o``, in order."""
    foreground: bool = False
    debug: bool = False
    strict: bool = False
    help: bool = False
    version: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with *arguments*, those of the process when None; returns its exit status."""
    command = Command()
    _occupy_standard_descriptors()
    try:
        _read_command_line(command, sys.argv[1:] if arguments is None else arguments)
        return _run(command)
    except UnionError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted")
    except OSError as error:
        return _fail(_one_line(error))
    except Exception as error:
        if command.debug:
            traceback.print_exc()
        return _fail(
            f"internal error: {type(error).__name__}: {_one_line(error)}; "
            "please report it with the output of the same command with -d"
        )


def _read_command_line(command: Command, arguments: Sequence[str]) -> None:
    try:
        flags, command.words = getopt.gnu_getopt(
            list(arguments),
            "o:fdhV",
            ["foreground", "debug", "strict", "stats", "help", "version"],
        )
    except getopt.GetoptError as error:
        raise UnionError(f"{error.msg}; see unionfs --help") from None
    for flag, value in flags:
        _read_flag(command, flag, value)


def _read_flag(command: Command, flag: str, value: str) -> None:
    match flag:
        case "-o":
            command.groups.append(value)
        case "-f" | "--foreground":
            command.foreground = True
        case "-d" | "--debug":
            command.debug = command.foreground = True
        case "--strict":
            command.strict = True
        case "--stats":
            command.groups.append("stats")
        case "-h" | "--help":
            command.help = True
        case "-V" | "--version":
            command.version = True


def _run(command: Command) -> int:
    if command.help:
        _print_help()
        return SUCCESS
    if command.version:
        # Scripts parse this form, which is that of fuse-overlayfs.
        print(f"unionfs: version {VERSION}")
        return SUCCESS
    options = _mount_options(command)
    from unionfs import session

    return session.run(options, foreground=command.foreground, debug=command.debug)


def _occupy_standard_descriptors() -> None:
    """Open 0, 1 and 2 if the caller closed them: nothing else may get these numbers.

    A daemon lets them lead to /dev/null, which would replace a layer or the device of the mount.
    """
    with suppress(FileNotFoundError):  # a /dev without anything: the mount will say what is missing
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
        os.close(fd)


def _mount_options(command: Command) -> MountOptions:
    if not 1 <= len(command.words) <= 2:
        given = f"too many words: {' '.join(command.words)}" if command.words else "no mountpoint"
        raise UnionError(f"{given}; usage: unionfs [SOURCE] MOUNTPOINT -o OPTIONS, see --help")
    *source, mountpoint = command.words
    options = parse_options(
        command.groups,
        mountpoint=mountpoint,
        source=source[0] if source else None,
        strict=command.strict,
        warn=_say,
    )
    for option in idle_options(options):
        _say(f"option {option} ignored: not carried out in this version")
    return _without_useless_label(options)


def _without_useless_label(options: MountOptions) -> MountOptions:
    """Drop the SELinux label where the kernel has no SELinux: mount(2) would refuse it."""
    if options.context is None or os.path.exists(_SELINUX):
        return options
    _say("option context ignored: SELinux is not enabled on this kernel")
    return replace(options, context=None)


def _print_help() -> None:
    from unionfs import manual

    print(f"{USAGE}\n{manual.help_table()}\n{EXAMPLES}", end="")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)!r}: {error.strerror}"
    return " ".join(str(error).split())


def _say(message: str) -> None:
    print(f"unionfs: {message}", file=sys.stderr, flush=True)


def _fail(message: str) -> int:
    _say(message)
    return FAILURE


if __name__ == "__main__":
    sys.exit(main())
