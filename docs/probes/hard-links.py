#!/usr/bin/env python3
# Made by `unionfs-lab matrix`; do not edit.
# Run as root: python3 THIS_FILE [PROBE...] [UNION...]; without a union it asks unionfs and kernel.
# For a NAME@userns: unshare --user --map-root-user --map-auto --mount python3 THIS_FILE ...

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
from typing import Any
import sys


def hard_link_written():
    # what is written to one name is read by the others
    # POSIX link(): two names of one file
    #   1. write_file('h1', 'B\n', 1, 'append'): works
    #   2. read_file('h2'): 4:A\nB\n
    #   3. read_file('d/h3'): 4:A\nB\n
    #   4. stat('h1'): identity as before (file), nlink 3
    #   5. stat('d/h3'): identity as before (file), nlink 3
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('h1', "wb") as f: f.write('A\n'.encode("latin-1"))
    os.chmod('h1', 0o644)
    os.link('h1', 'h2')
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.link('h1', 'd/h3')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("write_file('h1', 'B\\n', 1, 'append')", actor.write_file(path='h1', text='B\n', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('h1', 'B\\n', 1, 'append')", repr(error))
        try:
            print("read_file('h2')", actor.read_file(path='h2'))
        except (OSError, KeyError) as error:
            print("read_file('h2')", repr(error))
        try:
            print("read_file('d/h3')", actor.read_file(path='d/h3'))
        except (OSError, KeyError) as error:
            print("read_file('d/h3')", repr(error))
        try:
            print("stat('h1')", actor.stat(path='h1'))
        except (OSError, KeyError) as error:
            print("stat('h1')", repr(error))
        try:
            print("stat('d/h3')", actor.stat(path='d/h3'))
        except (OSError, KeyError) as error:
            print("stat('d/h3')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def hard_link_written_then_remounted():
    # what was written to one name is read there after a remount
    # write(2)
    #   1. write_file('h1', 'B\n', 1, 'append'): works
    #   2. remount(): works
    #   3. read_file('h1'): 4:A\nB\n
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('h1', "wb") as f: f.write('A\n'.encode("latin-1"))
    os.chmod('h1', 0o644)
    os.link('h1', 'h2')
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.link('h1', 'd/h3')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("write_file('h1', 'B\\n', 1, 'append')", actor.write_file(path='h1', text='B\n', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('h1', 'B\\n', 1, 'append')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('h1')", actor.read_file(path='h1'))
        except (OSError, KeyError) as error:
            print("read_file('h1')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def hard_links_stay_linked_over_remount():
    # what was written to one name is read at the others after a remount
    # POSIX link(): two names of one file
    #   1. write_file('h1', 'B\n', 1, 'append'): works
    #   2. remount(): works
    #   3. read_file('h2'): 4:A\nB\n
    #   4. read_file('d/h3'): 4:A\nB\n
    #   5. stat('h1'): ino as before (inode), nlink 3
    #   6. stat('d/h3'): ino as before (inode), nlink 3
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('h1', "wb") as f: f.write('A\n'.encode("latin-1"))
    os.chmod('h1', 0o644)
    os.link('h1', 'h2')
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.link('h1', 'd/h3')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("write_file('h1', 'B\\n', 1, 'append')", actor.write_file(path='h1', text='B\n', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('h1', 'B\\n', 1, 'append')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('h2')", actor.read_file(path='h2'))
        except (OSError, KeyError) as error:
            print("read_file('h2')", repr(error))
        try:
            print("read_file('d/h3')", actor.read_file(path='d/h3'))
        except (OSError, KeyError) as error:
            print("read_file('d/h3')", repr(error))
        try:
            print("stat('h1')", actor.stat(path='h1'))
        except (OSError, KeyError) as error:
            print("stat('h1')", repr(error))
        try:
            print("stat('d/h3')", actor.stat(path='d/h3'))
        except (OSError, KeyError) as error:
            print("stat('d/h3')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def hard_link_count_after_unlink():
    # removing one name of a lower file takes one from its link count, for good
    # POSIX unlink()
    #   1. stat('h1'): nlink 3
    #   2. unlink('h2'): works
    #   3. remount(): works
    #   4. stat('h1'): nlink 2
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('h1', "wb") as f: f.write('A\n'.encode("latin-1"))
    os.chmod('h1', 0o644)
    os.link('h1', 'h2')
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.link('h1', 'd/h3')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('h1')", actor.stat(path='h1'))
        except (OSError, KeyError) as error:
            print("stat('h1')", repr(error))
        try:
            print("unlink('h2')", actor.unlink(path='h2'))
        except (OSError, KeyError) as error:
            print("unlink('h2')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('h1')", actor.stat(path='h1'))
        except (OSError, KeyError) as error:
            print("stat('h1')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def hard_link_count_of_new():
    # links of new files are counted
    # POSIX link(), unlink()
    #   1. create('a', 420): works
    #   2. link('a', 'b'): works
    #   3. stat('a'): nlink 2, identity as before (file)
    #   4. stat('b'): nlink 2, identity as before (file)
    #   5. unlink('a'): works
    #   6. stat('b'): nlink 1, identity as before (file)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('x', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('x', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("create('a', 420)", actor.create(path='a', mode=420))
        except (OSError, KeyError) as error:
            print("create('a', 420)", repr(error))
        try:
            print("link('a', 'b')", actor.link(source='a', target='b'))
        except (OSError, KeyError) as error:
            print("link('a', 'b')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


PROBES = {
    'hard-link-written': hard_link_written,
    'hard-link-written-then-remounted': hard_link_written_then_remounted,
    'hard-links-stay-linked-over-remount': hard_links_stay_linked_over_remount,
    'hard-link-count-after-unlink': hard_link_count_after_unlink,
    'hard-link-count-of-new': hard_link_count_of_new,
}


TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def summary(data: bytes) -> str:
    """Content for people and for comparison: its length, and the bytes or their hash."""
    if len(data) <= 64:
        return f"{len(data)}:{data.decode('latin-1')}"
    return f"{len(data)}:sha256:{hashlib.sha256(data).hexdigest()[:16]}"


def stat_result(st: os.stat_result) -> dict[str, Any]:
    """What stat(2) says, as plain data. Times in ns, sizes in bytes, blocks of 512 bytes."""
    return {
        "type": TYPES[stat.S_IFMT(st.st_mode)],
        "mode": f"{stat.S_IMODE(st.st_mode):04o}",
        "uid": st.st_uid,
        "gid": st.st_gid,
        "size": st.st_size,
        "rdev": f"{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}",
        "nlink": st.st_nlink,
        "ino": st.st_ino,
        "dev": st.st_dev,
        "mtime": st.st_mtime_ns,
        "blocks": st.st_blocks,
    }


class Actor:
    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.streams: dict[int, int] = {}
        self.positions: dict[int, int] = {}
        self.maps: dict[int, mmap.mmap] = {}
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    def stat(self, path: str) -> dict[str, Any]:
        return stat_result(os.lstat(path))

    def read_file(self, path: str) -> str:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            return summary(file.read())

    def write_file(self, path: str, text: str, times: int, how: str) -> int:
        flags = {"truncate": os.O_TRUNC, "append": os.O_APPEND, "inside": 0}[how]
        number = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o666
        )
        try:
            return os.write(number, text.encode("latin-1") * times)
        finally:
            os.close(number)

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def link(self, source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

BASE = tempfile.mkdtemp(dir="/dev/shm" if os.path.ismount("/dev/shm") else "/var/tmp")


def mount(command, side, lowers):
    """Mount the layers with a command in which {options}, {branches}, {mountpoint} are filled in."""
    upper, work, point = (f"{BASE}/{side}/{name}" for name in ("upper", "work", "mnt"))
    for path in (upper, work, point):
        os.makedirs(path, exist_ok=True)
    options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}"
    branches = ":".join([f"{upper}=RW", *(f"{lower}=RO" for lower in lowers)])
    values = {"options": options, "branches": branches, "mountpoint": point}
    subprocess.run([word.format(**values) for word in command], check=True)
    return point


def unmount(point):
    subprocess.run(["umount", point], check=True)


def leave(actor):
    """Let go of what the operations left open, for it keeps the mount busy."""
    for number in actor.fds.values():
        os.close(number)
    for area in actor.maps.values():
        area.close()
    for stream in actor.streams.values():
        LIBC.closedir(stream)
    for child in actor.children.values():
        child.kill()
        child.wait()
    os.chdir("/")


def show(path):
    """The tree below a path, one line an object."""
    for directory, names, files in sorted(os.walk(path)):
        for name in sorted(names + files):
            full = os.path.join(directory, name)
            try:
                print("   ", describe(full), os.path.relpath(full, path), xattrs(full))
            except OSError as error:
                print("   ", os.path.relpath(full, path), error.strerror)


def describe(path):
    st = os.lstat(path)
    size = "-" if stat.S_ISDIR(st.st_mode) else st.st_size
    return f"{stat.filemode(st.st_mode)} {st.st_nlink} {st.st_uid} {st.st_gid} {size}"


def xattrs(path):
    """The names of its extended attributes, where there are such things."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        return error.strerror


COMMANDS = {
    'unionfs': ['unionfs', '-o', '{options}', '{mountpoint}'],
    'unionfs:redirect_dir=off': ['unionfs', '-o', '{options},redirect_dir=off', '{mountpoint}'],
    'kernel': ['mount', '-t', 'overlay', 'overlay', '-o', '{options}', '{mountpoint}'],
    'kernel:redirect_dir=on,index=on,metacopy=on,xino=on': ['mount', '-t', 'overlay', 'overlay', '-o', '{options},redirect_dir=on,index=on,metacopy=on,xino=on', '{mountpoint}'],
    'kernel@userns': ['mount', '-t', 'overlay', 'overlay', '-o', '{options},userxattr', '{mountpoint}'],
    'fuse-overlayfs': ['fuse-overlayfs', '-o', '{options}', '{mountpoint}'],
    'unionfs-fuse': ['unionfs-fuse', '-o', 'cow,allow_other,default_permissions,suid,dev', '{branches}', '{mountpoint}'],
}

CHOSEN = [name for name in sys.argv[1:] if name in COMMANDS] or ["unionfs", "kernel"]
COMMANDS = {name: COMMANDS[name] for name in CHOSEN}
HOME = BASE
for name in [name for name in sys.argv[1:] if name in PROBES] or PROBES:
    print("=====", name)
    BASE = tempfile.mkdtemp(dir=HOME)
    PROBES[name]()
shutil.rmtree(HOME)
