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


def copy_up_at_open():
    # opening for writing copies up, even when nothing is written
    # overlayfs.rst, non-directories: at opening for write access
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. raw_upper('a'): type file, size 1
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 'a', 'RDWR', 438)", actor.open(fd=0, path='a', flags='RDWR', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDWR', 438)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'a')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def copy_up_not_at_reading():
    # reading, listing and asking copy nothing up
    # overlayfs.rst, non-directories
    #   1. read_file('d/a'): 1:x
    #   2. list_dir('d'): ["a file"]
    #   3. access('d/a', 'write'): true
    #   4. raw_upper('.'): names []
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('d/a')", actor.read_file(path='d/a'))
        except (OSError, KeyError) as error:
            print("read_file('d/a')", repr(error))
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        try:
            print("access('d/a', 'write')", actor.access(path='d/a', mode='write'))
        except (OSError, KeyError) as error:
            print("access('d/a', 'write')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", '.')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def open_read_only_truncating():
    # O_RDONLY with O_TRUNC truncates a lower file
    # open(2): on many systems it is truncated; the kernel's file systems do
    #   1. open(0, 'a', 'RDONLY|TRUNC', 438): works
    #   2. stat('a'): size 0
    #   3. remount(): works
    #   4. read_file('a'): 0:
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 'a', 'RDONLY|TRUNC', 438)", actor.open(fd=0, path='a', flags='RDONLY|TRUNC', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY|TRUNC', 438)", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def open_exclusive():
    # O_CREAT with O_EXCL of a lower name
    # open(2): EEXIST
    #   1. create('a', 420): EEXIST
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
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
        leave(actor)
        show(point)
        unmount(point)


def device_write():
    # writing to a lower device goes to the device
    # overlayfs.rst: only objects are copied up, and the device is not one
    #   1. open(0, 'null', 'WRONLY', 438): works
    #   2. write(0, 'x', 1, None): 1
    #   3. raw_upper('null'): nothing there
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('null', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chmod('null', 0o666)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 'null', 'WRONLY', 438)", actor.open(fd=0, path='null', flags='WRONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'null', 'WRONLY', 438)", repr(error))
        try:
            print("write(0, 'x', 1, None)", actor.write(fd=0, text='x', times=1, offset=None))
        except (OSError, KeyError) as error:
            print("write(0, 'x', 1, None)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'null')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def link_of_lower():
    # link(2) of a lower file: both names are one file, also after a remount
    # link(2)
    #   1. link('a', 'b'): works
    #   2. stat('a'): identity as before (file), nlink 2
    #   3. stat('b'): identity as before (file), nlink 2
    #   4. write_file('b', 'y', 1, 'append'): works
    #   5. read_file('a'): 2:xy
    #   6. remount(): works
    #   7. stat('a'): ino as before (later), nlink 2
    #   8. stat('b'): ino as before (later), nlink 2
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
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
            print("write_file('b', 'y', 1, 'append')", actor.write_file(path='b', text='y', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('b', 'y', 1, 'append')", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_by_chmod():
    # chmod(2) of a lower file keeps its content and modification time
    # POSIX chmod()
    #   1. stat('a'): mtime as before (time of a)
    #   2. chmod('a', 384): works
    #   3. raw_upper('a'): type file
    #   4. read_file('a'): 1:x
    #   5. stat('a'): mtime as before (time of a)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("chmod('a', 384)", actor.chmod(path='a', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('a', 384)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'a')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_by_chown():
    # chown(2) of a lower file keeps its content and modification time
    # POSIX chown()
    #   1. stat('a'): mtime as before (time of a)
    #   2. chown('a', 5, 6): works
    #   3. raw_upper('a'): type file
    #   4. read_file('a'): 1:x
    #   5. stat('a'): mtime as before (time of a)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("chown('a', 5, 6)", actor.chown(path='a', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('a', 5, 6)", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'a')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_by_setxattr():
    # setxattr(2) of a lower file keeps its content and modification time
    # setxattr(2)
    #   1. stat('a'): mtime as before (time of a)
    #   2. set_xattr('a', 'user.k', 'v', 'any'): works
    #   3. raw_upper('a'): type file
    #   4. read_file('a'): 1:x
    #   5. stat('a'): mtime as before (time of a)
    #   6. get_xattr('a', 'user.k'): 1:v
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("set_xattr('a', 'user.k', 'v', 'any')", actor.set_xattr(path='a', name='user.k', value='v', how='any'))
        except (OSError, KeyError) as error:
            print("set_xattr('a', 'user.k', 'v', 'any')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'a')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("get_xattr('a', 'user.k')", actor.get_xattr(path='a', name='user.k'))
        except (OSError, KeyError) as error:
            print("get_xattr('a', 'user.k')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_by_utimens():
    # utimensat(2) of a lower file sets its times and nothing else
    # utimensat(2)
    #   1. utimens('a', 1000000000000000000, 1000000000000000005): works
    #   2. stat('a'): mtime 1000000000000000005, mode 0640, uid 5, gid 6
    #   3. read_file('a'): 1:x
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('a', 5, 6)
    os.chmod('a', 0o640)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("utimens('a', 1000000000000000000, 1000000000000000005)", actor.utimens(path='a', atime=1000000000000000000, mtime=1000000000000000005))
        except (OSError, KeyError) as error:
            print("utimens('a', 1000000000000000000, 1000000000000000005)", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_keeps_xattrs():
    # extended attributes go up with the file
    # overlayfs.rst: metadata is copied
    #   1. chmod('a', 384): works
    #   2. remount(): works
    #   3. get_xattr('a', 'user.k'): 1:v
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.setxattr('a', 'user.k', 'v'.encode())
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chmod('a', 384)", actor.chmod(path='a', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('a', 384)", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("get_xattr('a', 'user.k')", actor.get_xattr(path='a', name='user.k'))
        except (OSError, KeyError) as error:
            print("get_xattr('a', 'user.k')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def truncate_lower():
    # truncate(2) keeps the bytes before the new end
    # truncate(2)
    #   1. truncate('a', 2): works
    #   2. read_file('a'): 2:ab
    #   3. remount(): works
    #   4. read_file('a'): 2:ab
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('abcdef'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("truncate('a', 2)", actor.truncate(path='a', size=2))
        except (OSError, KeyError) as error:
            print("truncate('a', 2)", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_up_in_closed_directory():
    # a user writes to a file of its own in a directory that it may not write
    # POSIX open(): the directory's write permission is for names
    #   1. write_file('d/a', 'y', 1, 'append') as actor 2: works
    #   2. read_file('d/a'): 2:xy
    #   3. stat('d'): mode 0555, uid 1000
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chown('d', 1000, 1000)
    os.chmod('d', 0o555)
    with open('d/a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('d/a', 1000, 1000)
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("write_file('d/a', 'y', 1, 'append') as actor 2", actor.call((2, 1000, 1000), 'write_file', dict(path='d/a', text='y', times=1, how='append')))
        print("read_file('d/a')", actor.call((0, 0, 0), 'read_file', dict(path='d/a')))
        print("stat('d')", actor.call((0, 0, 0), 'stat', dict(path='d')))
        actor.dismiss()
        show(point)
        unmount(point)


def immutable_lower():
    # a lower file with chattr +i cannot be changed, and nothing is copied up
    # ioctl_iflags(2), FS_IMMUTABLE_FL: EPERM
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work: works
    #   2. chmod('a', 384): EPERM
    #   3. write_file('a', 'y', 1, 'truncate'): EPERM
    #   4. set_xattr('a', 'user.k', 'v', 'any'): EPERM
    #   5. raw_upper('a'): nothing there
    options = 'lowerdir=l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        subprocess.run(['chattr', '+i', 'l/a'])
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("chmod('a', 384)", actor.chmod(path='a', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('a', 384)", repr(error))
        try:
            print("write_file('a', 'y', 1, 'truncate')", actor.write_file(path='a', text='y', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'y', 1, 'truncate')", repr(error))
        try:
            print("set_xattr('a', 'user.k', 'v', 'any')", actor.set_xattr(path='a', name='user.k', value='v', how='any'))
        except (OSError, KeyError) as error:
            print("set_xattr('a', 'user.k', 'v', 'any')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'a')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        subprocess.run(['chattr', '-i', 'l/a'])
        os.chdir("/")


def immutable_lower_shown():
    # lsattr(1) shows that flag
    # ioctl_iflags(2)
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work: works
    #   2. get_flags('a'): immutable
    options = 'lowerdir=l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        subprocess.run(['chattr', '+i', 'l/a'])
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("get_flags('a')", actor.get_flags(path='a'))
        except (OSError, KeyError) as error:
            print("get_flags('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        subprocess.run(['chattr', '-i', 'l/a'])
        os.chdir("/")


PROBES = {
    'copy-up-at-open': copy_up_at_open,
    'copy-up-not-at-reading': copy_up_not_at_reading,
    'open-read-only-truncating': open_read_only_truncating,
    'open-exclusive': open_exclusive,
    'device-write': device_write,
    'link-of-lower': link_of_lower,
    'copy-up-by-chmod': copy_up_by_chmod,
    'copy-up-by-chown': copy_up_by_chown,
    'copy-up-by-setxattr': copy_up_by_setxattr,
    'copy-up-by-utimens': copy_up_by_utimens,
    'copy-up-keeps-xattrs': copy_up_keeps_xattrs,
    'truncate-lower': truncate_lower,
    'copy-up-in-closed-directory': copy_up_in_closed_directory,
    'immutable-lower': immutable_lower,
    'immutable-lower-shown': immutable_lower_shown,
}


FS_IOC_GETFLAGS = 0x80086601
ACCESS = {"exists": os.F_OK, "read": os.R_OK, "write": os.W_OK, "execute": os.X_OK}
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def open_flags(names: str) -> int:
    """ "RDWR|CREAT" as a number, always with O_CLOEXEC, and O_NONBLOCK since a fifo would wait."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    for name in names.split("|"):
        flags |= int(getattr(os, "O_" + name))
    return flags


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

    def open(self, fd: int, path: str, flags: str, mode: int) -> None:
        new = os.open(path, open_flags(flags), mode)
        if fd in self.fds:
            os.close(self.fds[fd])
        self.fds[fd] = new

    def write(self, fd: int, text: str, times: int, offset: int | None) -> int:
        number, data = self.fds[fd], text.encode("latin-1") * times
        return os.write(number, data) if offset is None else os.pwrite(number, data, offset)

    def stat(self, path: str) -> dict[str, Any]:
        return stat_result(os.lstat(path))

    def access(self, path: str, mode: str) -> bool:
        # Effective ids, as faccessat(2) AT_EACCESS: actors change their effective identity.
        return os.access(path, ACCESS[mode], effective_ids=True)

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

    def truncate(self, path: str, size: int) -> None:
        # To the size that it has: whether the times move is up to the disk, so nothing to compare.
        if os.stat(path).st_size != size:
            os.truncate(path, size)

    def link(self, source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, follow_symlinks=False)

    def utimens(self, path: str, atime: int, mtime: int) -> None:
        os.utime(path, ns=(atime, mtime), follow_symlinks=False)

    def set_xattr(self, path: str, name: str, value: str, how: str) -> None:
        flags = {"any": 0, "create": os.XATTR_CREATE, "replace": os.XATTR_REPLACE}[how]
        os.setxattr(path, name, value.encode("latin-1"), flags, follow_symlinks=False)

    def get_xattr(self, path: str, name: str) -> str:
        return summary(os.getxattr(path, name, follow_symlinks=False))

    def get_flags(self, path: str) -> str:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            (bits,) = struct.unpack("i", fcntl.ioctl(number, FS_IOC_GETFLAGS, bytes(4)))
        finally:
            os.close(number)
        return "immutable" if bits & 0x10 else "plain"

    def list_dir(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(
                f"{e.name} {TYPES[stat.S_IFMT(e.stat(follow_symlinks=False).st_mode)]}"
                for e in entries
            )


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
