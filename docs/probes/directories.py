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


def rmdir_not_empty():
    # rmdir of a lower directory with entries
    # rmdir(2): ENOTEMPTY or EEXIST
    #   1. rmdir('d'): ENOTEMPTY or EEXIST
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rmdir('d')", actor.rmdir(path='d'))
        except (OSError, KeyError) as error:
            print("rmdir('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rmdir_emptied():
    # rmdir of a lower directory whose entries were deleted
    # rmdir(2); overlayfs.rst: one whiteout takes its place
    #   1. unlink('d/a'): works
    #   2. rmdir('d'): works
    #   3. stat('d'): ENOENT
    #   4. raw_upper('d'): whiteout true
    #   5. remount(): works
    #   6. stat('d'): ENOENT
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("unlink('d/a')", actor.unlink(path='d/a'))
        except (OSError, KeyError) as error:
            print("unlink('d/a')", repr(error))
        try:
            print("rmdir('d')", actor.rmdir(path='d'))
        except (OSError, KeyError) as error:
            print("rmdir('d')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'd')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def mkdir_over_deleted():
    # a directory made where a lower one was deleted is empty and stays so
    # mkdir(2)
    #   1. remove_tree('d'): works
    #   2. mkdir('d', 493): works
    #   3. list_dir('d'): []
    #   4. remount(): works
    #   5. list_dir('d'): []
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/old', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/old', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("remove_tree('d')", actor.remove_tree(path='d'))
        except (OSError, KeyError) as error:
            print("remove_tree('d')", repr(error))
        try:
            print("mkdir('d', 493)", actor.mkdir(path='d', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('d', 493)", repr(error))
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def mkdir_over_deleted_is_opaque():
    # such a directory is opaque in the kernel's format, so other unions see it empty too
    # overlayfs.rst, whiteouts and opaque directories
    #   1. remove_tree('d'): works
    #   2. mkdir('d', 493): works
    #   3. raw_upper('d'): xattrs with overlay.opaque 1:y
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/old', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/old', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("remove_tree('d')", actor.remove_tree(path='d'))
        except (OSError, KeyError) as error:
            print("remove_tree('d')", repr(error))
        try:
            print("mkdir('d', 493)", actor.mkdir(path='d', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('d', 493)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'd')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def mkdir_leaves_no_litter():
    # a new directory is empty in the upper too
    # containers and image tools read the upper as it is
    #   1. mkdir('d/n', 493): works
    #   2. raw_upper('d/n'): names []
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("mkdir('d/n', 493)", actor.mkdir(path='d/n', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('d/n', 493)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'd/n')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def directory_link_count():
    # the link count of a directory counts subdirectories, or is 1 for unknown
    # find(1), -noleaf: 2 plus subdirectories, or 1
    #   1. stat('d'): nlink 1 or 4
    #   2. stat('d/a'): nlink 1 or 2
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.mkdir('d/a')
    os.chmod('d/a', 0o755)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.mkdir('d/b')
    os.chmod('d/b', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("stat('d/a')", actor.stat(path='d/a'))
        except (OSError, KeyError) as error:
            print("stat('d/a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def mknod_whiteout():
    # making a character device 0:0, the whiteout, is refused
    # overlayfs.rst: it would be a deletion; EPERM as mknod(2) has for refused devices
    #   1. mknod('w', 'char', 420, 0, 0): EPERM
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("mknod('w', 'char', 420, 0, 0)", actor.mknod(path='w', kind='char', mode=420, major=0, minor=0))
        except (OSError, KeyError) as error:
            print("mknod('w', 'char', 420, 0, 0)", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def name_of_aufs():
    # a file may be called .wh.x
    # POSIX 3.170: any byte but / and NUL
    #   1. create('.wh.x', 420): works
    #   2. list_dir('.'): [".wh.x file", "a file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("create('.wh.x', 420)", actor.create(path='.wh.x', mode=420))
        except (OSError, KeyError) as error:
            print("create('.wh.x', 420)", repr(error))
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def name_of_255_bytes():
    # names of 255 bytes can be made, and deleted from a lower layer
    # limits.h NAME_MAX; statvfs(3) f_namemax
    #   1. name_max('.'): 255
    #   2. create('mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm', 420): works
    #   3. unlink('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'): works
    #   4. remount(): works
    #   5. list_dir('.'): ["mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm...
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("name_max('.')", actor.name_max(path='.'))
        except (OSError, KeyError) as error:
            print("name_max('.')", repr(error))
        try:
            print("create('mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm', 420)", actor.create(path='mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm', mode=420))
        except (OSError, KeyError) as error:
            print("create('mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm', 420)", repr(error))
        try:
            print("unlink('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn')", actor.unlink(path='nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'))
        except (OSError, KeyError) as error:
            print("unlink('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def name_of_256_bytes():
    # a name of 256 bytes is too long
    # open(2): ENAMETOOLONG
    #   1. create('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', 420): ENAMETOOLONG
    #   2. stat('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'): ENAMETOOLONG
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("create('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', 420)", actor.create(path='nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', mode=420))
        except (OSError, KeyError) as error:
            print("create('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn', 420)", repr(error))
        try:
            print("stat('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn')", actor.stat(path='nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'))
        except (OSError, KeyError) as error:
            print("stat('nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def setgid_directory():
    # what is made in a lower setgid directory gets its group, and subdirectories the bit
    # inode(7), S_ISGID
    #   1. mkdir('s/d', 493) as actor 2: works
    #   2. create('s/f', 420) as actor 2: works
    #   3. stat('s/d'): mode 2755, uid 1000, gid 1001
    #   4. stat('s/f'): mode 0644, uid 1000, gid 1001
    #   5. stat('s'): mode 2777, gid 1001
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('s')
    os.chown('s', 0, 1001)
    os.chmod('s', 0o2777)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("mkdir('s/d', 493) as actor 2", actor.call((2, 1000, 1000), 'mkdir', dict(path='s/d', mode=493)))
        print("create('s/f', 420) as actor 2", actor.call((2, 1000, 1000), 'create', dict(path='s/f', mode=420)))
        print("stat('s/d')", actor.call((0, 0, 0), 'stat', dict(path='s/d')))
        print("stat('s/f')", actor.call((0, 0, 0), 'stat', dict(path='s/f')))
        print("stat('s')", actor.call((0, 0, 0), 'stat', dict(path='s')))
        actor.dismiss()
        show(point)
        unmount(point)


def default_acl_and_umask():
    # where the directory has a default ACL the umask does not count
    # acl(5), object creation and default ACLs
    #   1. set_default_acl('d', 7, 7, 0): works
    #   2. umask(63): works
    #   3. create('d/f', 438): works
    #   4. mkdir('d/s', 511): works
    #   5. stat('d/f'): mode 0660
    #   6. stat('d/s'): mode 0770
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o777)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("set_default_acl('d', 7, 7, 0)", actor.set_default_acl(path='d', user=7, group=7, other=0))
        except (OSError, KeyError) as error:
            print("set_default_acl('d', 7, 7, 0)", repr(error))
        try:
            print('umask(63)', actor.umask(mask=63))
        except (OSError, KeyError) as error:
            print('umask(63)', repr(error))
        try:
            print("create('d/f', 438)", actor.create(path='d/f', mode=438))
        except (OSError, KeyError) as error:
            print("create('d/f', 438)", repr(error))
        try:
            print("mkdir('d/s', 511)", actor.mkdir(path='d/s', mode=511))
        except (OSError, KeyError) as error:
            print("mkdir('d/s', 511)", repr(error))
        try:
            print("stat('d/f')", actor.stat(path='d/f'))
        except (OSError, KeyError) as error:
            print("stat('d/f')", repr(error))
        try:
            print("stat('d/s')", actor.stat(path='d/s'))
        except (OSError, KeyError) as error:
            print("stat('d/s')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def umask():
    # where it has none the umask counts
    # umask(2)
    #   1. umask(23): works
    #   2. create('d/f', 438): works
    #   3. mkdir('d/s', 511): works
    #   4. stat('d/f'): mode 0640
    #   5. stat('d/s'): mode 0750
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print('umask(23)', actor.umask(mask=23))
        except (OSError, KeyError) as error:
            print('umask(23)', repr(error))
        try:
            print("create('d/f', 438)", actor.create(path='d/f', mode=438))
        except (OSError, KeyError) as error:
            print("create('d/f', 438)", repr(error))
        try:
            print("mkdir('d/s', 511)", actor.mkdir(path='d/s', mode=511))
        except (OSError, KeyError) as error:
            print("mkdir('d/s', 511)", repr(error))
        try:
            print("stat('d/f')", actor.stat(path='d/f'))
        except (OSError, KeyError) as error:
            print("stat('d/f')", repr(error))
        try:
            print("stat('d/s')", actor.stat(path='d/s'))
        except (OSError, KeyError) as error:
            print("stat('d/s')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def parent_time_at_copy_up():
    # a change of a lower file's mode leaves the times of its directory alone
    # POSIX chmod(): marks the file, not the directory
    #   1. stat('d'): mtime as before (time of d)
    #   2. chmod('d/a', 384): works
    #   3. stat('d'): mtime as before (time of d)
    #   4. remount(): works
    #   5. stat('d'): mtime as before (time of d)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("chmod('d/a', 384)", actor.chmod(path='d/a', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('d/a', 384)", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def parent_time_at_own_copy_up():
    # a change of a lower directory's mode leaves its modification time alone
    # POSIX chmod(): marks the status change only
    #   1. stat('d'): mtime as before (time of d)
    #   2. chmod('d', 448): works
    #   3. stat('d'): mtime as before (time of d)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("chmod('d', 448)", actor.chmod(path='d', mode=448))
        except (OSError, KeyError) as error:
            print("chmod('d', 448)", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def parent_time_at_create():
    # a new entry changes the directory's modification time
    # POSIX open(): O_CREAT marks the parent
    #   1. stat('d'): mtime as before (time of d)
    #   2. create('d/n', 420): works
    #   3. stat('d'): mtime another (time of d)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("create('d/n', 420)", actor.create(path='d/n', mode=420))
        except (OSError, KeyError) as error:
            print("create('d/n', 420)", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def parent_time_at_unlink():
    # a deleted entry changes the directory's modification time
    # POSIX unlink()
    #   1. stat('d'): mtime as before (time of d)
    #   2. unlink('d/a'): works
    #   3. stat('d'): mtime another (time of d)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("unlink('d/a')", actor.unlink(path='d/a'))
        except (OSError, KeyError) as error:
            print("unlink('d/a')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def parent_time_at_rename():
    # a renamed entry changes the directory's modification time
    # POSIX rename()
    #   1. stat('d'): mtime as before (time of d)
    #   2. rename('d/a', 'd/b', ''): works
    #   3. stat('d'): mtime another (time of d)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        try:
            print("rename('d/a', 'd/b', '')", actor.rename(source='d/a', target='d/b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('d/a', 'd/b', '')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def sticky_directory():
    # in a sticky directory of a lower layer only the owner may delete
    # unlink(2): EPERM or EACCES
    #   1. unlink('t/a') as actor 3: EPERM or EACCES
    #   2. unlink('t/a') as actor 2: works
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('t')
    os.chmod('t', 0o1777)
    with open('t/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chown('t/a', 1000, 1000)
    os.chmod('t/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("unlink('t/a') as actor 3", actor.call((3, 1001, 1001), 'unlink', dict(path='t/a')))
        print("unlink('t/a') as actor 2", actor.call((2, 1000, 1000), 'unlink', dict(path='t/a')))
        actor.dismiss()
        show(point)
        unmount(point)


def owner_of_new():
    # what a user makes belongs to that user and its group
    # open(2), mkdir(2)
    #   1. create('d/f', 420) as actor 2: works
    #   2. mkdir('d/s', 493) as actor 2: works
    #   3. stat('d/f'): uid 1000, gid 1000
    #   4. stat('d/s'): uid 1000, gid 1000
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o777)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("create('d/f', 420) as actor 2", actor.call((2, 1000, 1000), 'create', dict(path='d/f', mode=420)))
        print("mkdir('d/s', 493) as actor 2", actor.call((2, 1000, 1000), 'mkdir', dict(path='d/s', mode=493)))
        print("stat('d/f')", actor.call((0, 0, 0), 'stat', dict(path='d/f')))
        print("stat('d/s')", actor.call((0, 0, 0), 'stat', dict(path='d/s')))
        actor.dismiss()
        show(point)
        unmount(point)


PROBES = {
    'rmdir-not-empty': rmdir_not_empty,
    'rmdir-emptied': rmdir_emptied,
    'mkdir-over-deleted': mkdir_over_deleted,
    'mkdir-over-deleted-is-opaque': mkdir_over_deleted_is_opaque,
    'mkdir-leaves-no-litter': mkdir_leaves_no_litter,
    'directory-link-count': directory_link_count,
    'mknod-whiteout': mknod_whiteout,
    'name-of-aufs': name_of_aufs,
    'name-of-255-bytes': name_of_255_bytes,
    'name-of-256-bytes': name_of_256_bytes,
    'setgid-directory': setgid_directory,
    'default-acl-and-umask': default_acl_and_umask,
    'umask': umask,
    'parent-time-at-copy-up': parent_time_at_copy_up,
    'parent-time-at-own-copy-up': parent_time_at_own_copy_up,
    'parent-time-at-create': parent_time_at_create,
    'parent-time-at-unlink': parent_time_at_unlink,
    'parent-time-at-rename': parent_time_at_rename,
    'sticky-directory': sticky_directory,
    'owner-of-new': owner_of_new,
}


LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_FLAGS = {"noreplace": 1, "exchange": 2, "whiteout": 4}
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}
LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.c_void_p
LIBC.readdir.argtypes = [ctypes.c_void_p]
LIBC.telldir.restype = ctypes.c_long
LIBC.telldir.argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
LIBC.rewinddir.argtypes = [ctypes.c_void_p]
LIBC.closedir.argtypes = [ctypes.c_void_p]
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def check(result: int) -> int:
    """Raise the OSError of a C call that answered -1."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


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

    def name_max(self, path: str) -> int:
        return os.statvfs(path).f_namemax

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

    def mknod(self, path: str, kind: str, mode: int, major: int, minor: int) -> None:
        types = {name: bits for bits, name in TYPES.items()}
        os.mknod(path, types[kind] | mode, os.makedev(major, minor))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def set_default_acl(self, path: str, user: int, group: int, other: int) -> None:
        # acl(5), the binary form of linux/posix_acl_xattr.h: version 2, then tag, bits, id.
        entries = [(0x01, user), (0x04, group), (0x10, group), (0x20, other)]
        value = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", tag, bits, 0xFFFFFFFF) for tag, bits in entries
        )
        os.setxattr(path, "system.posix_acl_default", value)

    def list_dir(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(
                f"{e.name} {TYPES[stat.S_IFMT(e.stat(follow_symlinks=False).st_mode)]}"
                for e in entries
            )

    def remove_tree(self, path: str) -> None:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)  # ENOTDIR; rmtree would open it, and wait if it is a fifo
        shutil.rmtree(path)

    def umask(self, mask: int) -> None:
        os.umask(mask)


Member = tuple[int, int, int]  # the number of an actor, its uid and its gid
Outcome = dict[str, Any]  # {"result": …} or {"errno": "ENOENT"}


def perform(actor: Actor, verb: str, arguments: dict[str, Any]) -> Outcome:
    """Do one call and say what came of it."""
    try:
        return {"result": getattr(actor, verb)(**arguments)}
    except OSError as error:
        return {"errno": errno.errorcode.get(error.errno or 0, str(error.errno))}
    except KeyError as error:
        # The descriptor was never opened, or its open failed.
        return {"errno": f"NO SLOT {error}"}
    except (ValueError, BufferError) as error:
        return {"errno": type(error).__name__}


class Crew:
    """The actors of one sequence, forked on their first call inside the root of the mount."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.members: dict[Member, tuple[int, socket.socket]] = {}

    def call(self, who: Member, verb: str, arguments: dict[str, Any]) -> Outcome:
        """Let one actor do one call."""
        if who not in self.members:
            self.members[who] = self.hire(who)
        channel = self.members[who][1]
        answer = b""
        with contextlib.suppress(ConnectionError):
            channel.send(json.dumps([verb, arguments]).encode())
            answer = channel.recv(1 << 20)
        if not answer:
            # SIGBUS, as from a mapping beyond the end of a file that was truncated.
            return {"errno": "ACTOR DIED"}
        outcome: Outcome = json.loads(answer)
        return outcome

    def hire(self, who: Member) -> tuple[int, socket.socket]:
        """Fork an actor; answers its pid and the channel to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            theirs.close()
            return pid, ours
        try:
            ours.close()
            for _, channel in self.members.values():
                channel.close()
            os.chdir(self.root)
            _, uid, gid = who
            if uid or gid:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            os.umask(0o022)
            act(theirs)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """End every actor, and wait: a living one would keep the mount busy."""
        for pid, channel in self.members.values():
            # An empty message and not only a close: a later fork may hold a copy of the channel.
            with contextlib.suppress(ConnectionError):
                channel.send(b"")
            channel.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.members.clear()


def act(channel: socket.socket) -> None:
    """The life of an actor: answer calls until the channel closes."""
    actor = Actor()
    while message := channel.recv(1 << 20):
        verb, arguments = json.loads(message)
        channel.send(json.dumps(perform(actor, verb, arguments)).encode())
    for child in actor.children.values():
        child.kill()
        child.wait()

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
