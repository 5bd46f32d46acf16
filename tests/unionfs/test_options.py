"""What each option means, in the words that kernel overlayfs, podman and fstab use."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.errors import UnionError
from unionfs.faults import Rule
from unionfs.optionkinds import IdRange
from unionfs.options import (
    OPTIONS,
    MountOptions,
    libfuse_options,
    parse_options,
    render_options,
)

CWD = b"/home/driver"


def parse(*groups: str | bytes, **more: Any) -> MountOptions:
    """Parse with a known directory; an unknown option is an error unless *more* says otherwise."""
    return parse_options(groups, cwd=CWD, **({"strict": True} | more))


def test_reads_a_read_write_union() -> None:
    options = parse("lowerdir=top:/mid:base,upperdir=up,workdir=/w", mountpoint="m")
    assert options.lowers == (b"/home/driver/top", b"/mid", b"/home/driver/base")
    assert (options.upper, options.work) == (b"/home/driver/up", b"/w")
    assert options.mountpoint == b"/home/driver/m"
    assert not options.read_only


@pytest.mark.parametrize(
    ("value", "lowers", "data"),
    [
        (rb"/l\:c", (b"/l:c",), ()),
        (rb"/l\,m", (b"/l,m",), ()),
        (rb"/l\\b", (rb"/l\b",), ()),
        (rb"/l\b", (b"/lb",), ()),
        (b"/a:", (b"/a",), ()),
        (b":/a", (b"/a",), ()),
        (b":/a:", (b"/a",), ()),
        (b"/a:/a", (b"/a", b"/a"), ()),
        (b"/a:/b::/d", (b"/a", b"/b"), (b"/d",)),
        (b"/a::/d::/e", (b"/a",), (b"/d", b"/e")),
        (b"/a::/d:", (b"/a",), (b"/d",)),
        (b"/\xff\n", (b"/\xff\n",), ()),
        (b"/x/../y", (b"/x/../y",), ()),
    ],
)
def test_reads_a_stack(value: bytes, lowers: tuple[bytes, ...], data: tuple[bytes, ...]) -> None:
    options = parse(b"lowerdir=" + value)
    assert (options.lowers, options.data_lowers) == (lowers, data)


def test_appended_layers_follow_the_stack_and_keep_their_colons() -> None:
    options = parse("lowerdir=/a:/b", r"lowerdir+=/c:d,lowerdir+=/e\,f", "datadir+=/g,datadir+=h")
    assert options.lowers == (b"/a", b"/b", b"/c:d", b"/e,f")
    assert options.data_lowers == (b"/g", b"/home/driver/h")


def test_a_thousand_layers() -> None:
    paths = [f"/layers/{number}" for number in range(1000)]
    assert parse("lowerdir=" + ":".join(paths)).lowers == tuple(p.encode() for p in paths)


def test_relative_paths_count_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_options(["lowerdir=l/ABC"]).lowers == (bytes(tmp_path / "l/ABC"),)


def test_absolute_paths_need_no_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert parse_options(["lowerdir=/l"], mountpoint="/m").lowers == (b"/l",)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("ro", "read_only", True),
        ("ro,rw", "read_only", False),
        ("allow_other", "allow_other", True),
        ("noallow_other", "allow_other", False),
        ("allow_root", "allow_root", True),
        ("suid", "suid", True),
        ("nosuid", "suid", False),
        ("dev", "dev", True),
        ("nodev", "dev", False),
        ("exec", "exec", True),
        ("noexec", "exec", False),
        ("noatime", "noatime", True),
        ("fsname=x y", "fsname", b"x y"),
        ("uidmapping=0:1000:1", "uid_mapping", (IdRange(0, 1000, 1),)),
        (
            "gidmapping=0:1000:1:1:110000:65536",
            "gid_mapping",
            (IdRange(0, 1000, 1), IdRange(1, 110000, 65536)),
        ),
        ("uidmapping=0:0:4294967295", "uid_mapping", (IdRange(0, 0, 4294967295),)),
        ("squash_to_root", "squash_to_root", True),
        ("squash_to_uid=7", "squash_to_uid", 7),
        ("squash_to_gid=0", "squash_to_gid", 0),
        ("static_nlink", "static_nlink", True),
        ("awake", "awake", True),
        ("noacl", "acl", False),
        ("redirect_dir=off", "redirect_dir", "off"),
        ("redirect_dir=follow", "redirect_dir", "follow"),
        ("redirect_dir=nofollow", "redirect_dir", "nofollow"),
        ("redirect_dir=on", "redirect_dir", "on"),
        ("metacopy=on", "metacopy", True),
        ("metacopy=off", "metacopy", False),
        ("index=off", "index", False),
        ("xino=auto", "xino", "auto"),
        ("userxattr", "userxattr", True),
        ("volatile", "volatile", True),
        ("volatile=0", "volatile", False),
        ("volatile", "fsync", "volatile"),
        ("fsync=0", "fsync", "volatile"),
        ("fsync=1", "fsync", "auto"),
        ("fsync=strict", "fsync", "strict"),
        ("timeout=0", "timeout", 0.0),
        ("timeout=1.5", "timeout", 1.5),
        ("timeout=1000000000", "timeout", 1e9),
        ("writeback=0", "writeback", False),
        ("writeback=1", "writeback", True),
        ("aufs=off", "aufs", False),
        ("xattr_permissions=2", "xattr_permissions", 2),
        ("context=plain", "context", "plain"),
        ('context="u:o:t:s0:c1,c2"', "context", "u:o:t:s0:c1,c2"),
        ("stats", "stats", True),
        ("trace=out.jsonl", "trace", b"/home/driver/out.jsonl"),
        ("faults=rename:1:EIO", "faults", (Rule("rename", 1, "EIO"),)),
    ],
)
def test_reads_an_option(text: str, field: str, value: object) -> None:
    assert getattr(parse("lowerdir=/l,upperdir=/u,workdir=/w", text), field) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",,",
        "defaults,_netdev,nofail,auto,noauto,user,nouser",
        "x-systemd.requires-mounts-for=/x,x-gvfs-hide,X-mount.mkdir=0755",
        "default_permissions,lazytime,relatime,sync,async",
        "threaded=1,fast_ino=0,max_write=131072",
    ],
)
def test_swallows_mount_table_noise(text: str) -> None:
    plain = "lowerdir=/l,upperdir=/u,workdir=/w"
    assert parse(plain, text) == parse(plain)


def test_an_unknown_option_warns_and_is_an_error_only_when_strict() -> None:
    warnings: list[str] = []
    parse("lowerdir=/l,bogus=1,\x1b[31m", strict=False, warn=warnings.append)
    assert warnings == ["unknown option ignored: bogus=1", r"unknown option ignored: \x1b[31m"]
    with pytest.raises(UnionError, match="unknown option: bogus; correct it"):
        parse("lowerdir=/l,bogus")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ro", "no lower layer; give at least one"),
        ("lowerdir=", "no lower layer"),
        ("lowerdir=:", "no lower layer"),
        ("lowerdir", "needs a value: lowerdir=DIR"),
        ("lowerdir=/a::/d:/b", "/b follows the data-only layer /d after one colon"),
        ("lowerdir=/a::", "lowerdir: :: in /a:: is not between a layer and the data-only layer"),
        ("lowerdir=/a::/d::", "is not between"),
        ("lowerdir=::/a", "is not between"),
        ("lowerdir=/a:::/d", "is not between"),
        ("lowerdir=::", "is not between"),
        ("lowerdir=/l,upperdir=", "option upperdir=: expected"),
        ("lowerdir=/l,redirect_dir=maybe", "redirect_dir=maybe: expected one of off, follow"),
        ("lowerdir=/l,metacopy", "needs a value: metacopy=off|on"),
        ("lowerdir=/l,metacopy=2", "expected off or on"),
        ("lowerdir=/l,writeback=2", "expected 0 or 1"),
        ("lowerdir=/l,volatile=x", "volatile=x: expected 0 or 1"),
        ("lowerdir=/l,uidmapping=0:1", "expected SHOWN:ONDISK:LENGTH"),
        ("lowerdir=/l,uidmapping=0:1:-1", "expected SHOWN:ONDISK:LENGTH"),
        ("lowerdir=/l,uidmapping=0:1:0", "a length of 1 or more"),
        ("lowerdir=/l,uidmapping=0:1:4294967295", "expected ids from 0 to 4294967294"),
        ("lowerdir=/l,uidmapping=0:0:5:4:9:1", "ranges that do not overlap"),
        ("lowerdir=/l,gidmapping=0:0:5:9:4:1", "ranges that do not overlap"),
        ("lowerdir=/l,squash_to_uid=root", "a whole number from 0 to 4294967294"),
        ("lowerdir=/l,squash_to_uid=4294967295", "a whole number from 0 to 4294967294"),
        ("lowerdir=/l,squash_to_uid=" + "9" * 5000, "a whole number from 0 to 4294967294"),
        ("lowerdir=/l,timeout=-1", "a number of seconds, 0 or more"),
        ("lowerdir=/l,timeout=nan", "a number of seconds, 0 or more"),
        ("lowerdir=/l,timeout=inf", "a number of seconds, 0 or more"),
        ("lowerdir=/l,timeout=soon", "a number of seconds, 0 or more"),
        ("lowerdir=/l,xattr_permissions=3", "a whole number from 0 to 2"),
        ("lowerdir=/l,context=", "expected a security label"),
        ('lowerdir=/l,context=a"b', "expected a security label"),
        ("lowerdir=/l,allow_other,allow_root", "contradict each other"),
        ("lowerdir=/l,volatile,fsync=strict", "contradict each other"),
    ],
)
def test_refuses_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UnionError) as refusal:
        parse(text)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_valued_option_shows_its_syntax_when_the_value_is_missing(option: Any) -> None:
    if "=" not in option.kind.syntax(option.name):
        assert getattr(parse("lowerdir=/l,upperdir=/u", option.name), option.field) is True
        return
    with pytest.raises(UnionError) as refusal:
        parse("lowerdir=/l", option.name)
    assert option.kind.syntax(option.name) in str(refusal.value)


def test_without_an_upper_the_view_is_read_only_and_a_workdir_is_not_used() -> None:
    options = parse("lowerdir=/l,workdir=/w,rw")
    assert options.read_only
    assert options.work is None


@pytest.mark.parametrize(
    ("source", "text", "name"),
    [
        (None, "lowerdir=/l", b"unionfs:/l"),
        ("none", "lowerdir=/l", b"unionfs:/l"),
        ("none", "lowerdir=/l,upperdir=u", b"unionfs:/home/driver/u"),
        ("overlay", "lowerdir=/l", b"overlay"),
        ("overlay", "lowerdir=/l,fsname=mine", b"mine"),
    ],
)
def test_names_the_mount(source: str | None, text: str, name: bytes) -> None:
    assert parse(text, source=source).fsname == name


# semantics.md 4.2 and 4.3: what containers/storage and mount(8) run.
PODMAN_RW = (
    "lowerdir=/var/lib/containers/storage/overlay/l/ABC:/var/lib/containers/storage/overlay/l/DEF,"
    "upperdir=/s/diff,workdir=/s/work,,nodev,volatile,"
    'context="system_u:object_r:container_file_t:s0:c104,c919",'
    "uidmapping=0:1000:1:1:100000:65536,gidmapping=0:1000:1:1:100000:65536,xattr_permissions=2"
)


def test_a_podman_mount_parses_as_it_is() -> None:
    options = parse(PODMAN_RW)
    assert len(options.lowers) == 2
    assert (options.upper, options.work) == (b"/s/diff", b"/s/work")
    assert options.volatile
    assert options.dev is False
    assert options.context == "system_u:object_r:container_file_t:s0:c104,c919"
    assert options.uid_mapping == options.gid_mapping
    assert options.xattr_permissions == 2


@pytest.mark.parametrize(
    "text",
    [
        "lowerdir=l/ABC:l/DEF,squash_to_uid=1000,squash_to_gid=1000",
        "lowerdir=/s/diff:/l,metacopy=on,redirect_dir=on,index=off,userxattr,nodev,volatile",
        "rw,lowerdir=/l,upperdir=/u,workdir=/w,allow_other,noauto,x-systemd.requires-mounts-for=/x",
        "rw,dev,suid,lowerdir=/l",
    ],
)
def test_other_callers_parse_as_they_are(text: str) -> None:
    assert parse(text).lowers


# --- rendering ---

_PATHS = st.binary(min_size=1, max_size=20).map(lambda name: b"/" + name.replace(b"\0", b"0"))
_STACKS = st.lists(_PATHS, min_size=1, max_size=4).map(tuple)
_IDS = st.integers(0, 2**32 - 2)
_LABELS = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters='"\x7f'))
_RANGES = st.integers(1, 50).flatmap(
    lambda length: st.just((IdRange(0, 1000, length), IdRange(length, 5000, length)))
)
_MAYBE = st.none() | st.booleans()

MOUNTS = st.builds(
    MountOptions,
    mountpoint=_PATHS,
    lowers=_STACKS,
    data_lowers=_STACKS | st.just(()),
    upper=_PATHS,
    work=_PATHS,
    read_only=st.booleans(),
    userxattr=st.booleans(),
    aufs=st.booleans(),
    redirect_dir=st.sampled_from((None, "off", "follow", "nofollow", "on")),
    metacopy=_MAYBE,
    index=_MAYBE,
    xino=st.sampled_from(("off", "auto", "on")),
    uid_mapping=_RANGES | st.just(()),
    gid_mapping=_RANGES | st.just(()),
    squash_to_root=st.booleans(),
    squash_to_uid=st.none() | _IDS,
    squash_to_gid=st.none() | _IDS,
    xattr_permissions=st.sampled_from((0, 1, 2)),
    acl=st.booleans(),
    static_nlink=st.booleans(),
    awake=st.booleans(),
    fsync=st.sampled_from(("auto", "strict", "volatile")),
    timeout=st.floats(0, 1e18),
    writeback=st.booleans(),
    noatime=st.booleans(),
    allow_other=_MAYBE,
    suid=_MAYBE,
    dev=_MAYBE,
    exec=_MAYBE,
    fsname=_PATHS,
    context=st.none() | _LABELS.filter(bool),
    stats=st.booleans(),
    trace=st.none() | _PATHS,
    faults=st.just(()) | st.builds(lambda nth: (Rule("rename", nth, "EIO"),), st.integers(1, 9)),
)


@given(MOUNTS)
def test_rendered_options_read_back_as_the_same(options: MountOptions) -> None:
    assert parse(render_options(options), mountpoint=options.mountpoint) == options


def test_a_volatile_read_only_mount_reads_back_as_the_same() -> None:
    options = parse("lowerdir=/l,volatile,allow_root")
    assert parse(render_options(options)) == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lowerdir=/l", {"ro", "fsname=unionfs:/l"}),
        ("lowerdir=/l,noallow_other", {"ro", "fsname=unionfs:/l"}),
        (r"lowerdir=/l\,\\,timeout=1,allow_root", {"ro", r"fsname=unionfs:/l\,\\", "allow_root"}),
        (
            'lowerdir=/l,context="u:o:t:s0:c1,c2"',
            {"ro", "fsname=unionfs:/l", r'context="u:o:t:s0:c1\,c2"'},
        ),
        (
            "lowerdir=/l,upperdir=/u,workdir=/w,nosuid,dev,noexec,noatime,allow_other,acl",
            {"nosuid", "dev", "noexec", "noatime", "allow_other", "fsname=unionfs:/u"},
        ),
    ],
)
def test_what_libfuse_is_told(text: str, words: set[str]) -> None:
    assert libfuse_options(parse(text)) == words


def test_rendering_leaves_defaults_out() -> None:
    options = MountOptions(mountpoint=b"/m", lowers=(b"/l",))
    assert render_options(options) == b"lowerdir=/l"


def test_every_field_but_the_mountpoint_has_an_option() -> None:
    described = {option.field for option in OPTIONS}
    assert {field.name for field in fields(MountOptions)} == described | {"mountpoint"}
