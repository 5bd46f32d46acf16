"""The option table as the man page, the README's table and ``--help``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from unionfs.cli import EXAMPLES
from unionfs.options import OPTIONS, Option
from unionfs.version import VERSION

_HELP_INDENT = 25
_HELP_WIDTH = 100


def markdown_table() -> str:
    """Return the options as a table for the README, one line each."""
    rows = ["| option | default | what it does |", "|---|---|---|"]
    for option in OPTIONS:
        syntax = option.kind.syntax(option.name).replace("|", "\\|")
        rows.append(f"| `{syntax}` | {option.default} | {_sentence(option)} |")
    return "\n".join(rows) + "\n"


def help_table() -> str:
    """Return the options for ``--help``: the first sentence of each."""
    blocks = []
    for section, options in _sections():
        lines = [f"{section}:"]
        for option in options:
            lines += _help_lines(option)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def man_page() -> str:
    """Return unionfs(1) in the man(7) macros."""
    options = [
        line for section, rows in _sections() for line in (f'.SS "{section}"', *map(_man_row, rows))
    ]
    return (
        "\n".join([_MAN_HEAD.format(version=VERSION).rstrip(), *options, _MAN_TAIL.strip()]) + "\n"
    )


def _sections() -> Iterator[tuple[str, list[Option]]]:
    for section, options in groupby(OPTIONS, key=lambda option: option.section):
        yield section, list(options)


def _sentence(option: Option) -> str:
    sentences = [option.help]
    if option.kernel:
        sentences.append("Set on the mount itself.")
    if option.idle:
        sentences.append(f"Not carried out in this version, and warned about: {option.idle}")
    return " ".join(sentences)


def _help_lines(option: Option) -> list[str]:
    syntax = option.kind.syntax(option.name)
    summary = option.help.split(". ")[0].rstrip(".")
    text = textwrap.wrap(f"{summary} [{option.default}]", _HELP_WIDTH - _HELP_INDENT)
    lines = [" " * _HELP_INDENT + line for line in text]
    head = f"  {syntax}"
    if len(head) < _HELP_INDENT:
        return [head.ljust(_HELP_INDENT) + text[0], *lines[1:]]
    return [head, *lines]


def _man_row(option: Option) -> str:
    syntax = _troff(option.kind.syntax(option.name))
    return f".TP\n.B {syntax}\n{_troff(_sentence(option))}\nDefault: {_troff(option.default)}."


def _troff(text: str) -> str:
    """Write text so that troff prints it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


_MAN_HEAD = r"""
.TH UNIONFS 1 "" "unionfs {version}" "User Commands"
.SH NAME
unionfs \- mount a stack of directories as one, in the format of kernel overlayfs
.SH SYNOPSIS
.B unionfs
.RI [ SOURCE ]
.I MOUNTPOINT
.B \-o
.IR OPTION [, OPTION ...]
.RB [ \-o
.IR ... ]
.RB [ \-f ]
.RB [ \-d ]
.RB [ \-\-strict ]
.RB [ \-\-stats ]
.br
.B unionfs \-h
|
.B unionfs \-V
.SH DESCRIPTION
.B unionfs
shows several directories, the layers, as one.
The lower layers are never written, not even their access times.
Every change goes to the upper layer, in the format that kernel overlayfs reads and writes:
either of them can mount what the other one wrote.
Without an upper layer the mount is read\-only.
.PP
The last word that is not an option is the mountpoint.
A word before it names the mount in
.IR /proc/mounts ;
.B none
stands for no name.
.PP
The program returns once the mount answers, and serves it in the background until it is unmounted.
SIGTERM and SIGINT unmount it.
.SH "COMMAND LINE"
.TP
.BI \-o " OPTION" [, OPTION ...]
Mount options, see below. May be given several times; a later option replaces an earlier one.
.TP
.BR \-f ", " \-\-foreground
Stay in the foreground until unmounted.
.TP
.BR \-d ", " \-\-debug
As
.BR \-f ,
and log what happens on standard error.
.TP
.B \-\-strict
Refuse unknown mount options; otherwise they are ignored with a warning.
.TP
.B \-\-stats
The same as
.BR "\-o stats" .
.TP
.BR \-h ", " \-\-help
Show a summary.
.TP
.BR \-V ", " \-\-version
Show the version.
.SH "MOUNT OPTIONS"
Options are separated by commas.
In a value a backslash makes the next character literal:
.B \e,
is a comma,
.B \e:
a colon in the path of a layer,
.B \e\e
a backslash.
Before any other character a backslash disappears, as for kernel overlayfs.
Only a
.B context
label may be quoted instead.
Words of
.IR /etc/fstab
that are meant for mount(8), such as
.BR _netdev ", " nofail ", " noauto
and
.BR x\-systemd.automount ,
are skipped.
"""

_MAN_TAIL = r"""
.SH "EXIT STATUS"
.TP
.B 0
The mount answers; with
.BR \-f :
it was unmounted.
.TP
.B 1
It could not be made.
One line on standard error names the path or option and says what to do.
.SH "MOUNT(8) AND FSTAB"
.B mount \-t fuse.unionfs
runs
.I /sbin/mount.fuse3
without a PATH, and that runs
.B unionfs
from the directories that sh(1) searches then, the first of which are
.I /usr/local/sbin
and
.IR /usr/local/bin .
A program installed elsewhere needs a link there:
.PP
.RS
ln \-s /opt/unionfs/.venv/bin/unionfs /usr/local/bin/unionfs
.RE
.PP
Such a link also comes before
.IR /usr/bin/unionfs ,
which is another program if the package unionfs\-fuse is installed.
.PP
A line of
.IR /etc/fstab :
.PP
.RS
none /mnt fuse.unionfs lowerdir=/l,upperdir=/u,workdir=/w,noauto 0 0
.RE
.SH RULES
.IP \(bu 2
upperdir and workdir are different directories of one mount, neither inside the other.
.IP \(bu 2
A lower layer may lie in another lower layer, and upperdir may lie in a lower layer;
a lower layer may not lie in upperdir or workdir.
.IP \(bu 2
The mountpoint may be one of the layers.
A layer below the mountpoint is refused, since the mount would hide it.
.IP \(bu 2
One upperdir serves one mount at a time.
.SH FILES
.TP
.I WORKDIR/work
Changes in the making. Emptied by each mount.
.TP
.I /etc/fuse.conf
.B user_allow_other
lets unprivileged users give
.BR allow_other .
.SH EXAMPLES
.PP
.nf
@EXAMPLES@
.fi
.SH "SEE ALSO"
.BR mount (8),
.BR fusermount3 (1),
.BR fuse (4),
.BR layertool (1)
""".replace("@EXAMPLES@", _troff(EXAMPLES.partition("\n")[2].partition("\n\n")[0]))
