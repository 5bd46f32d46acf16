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


def descriptor_from_before_copy_up():
    # a descriptor from before a copy-up reads what was written since
    # POSIX write(): a later read of the file returns the data
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. write_file('a', 'y', 1, 'append'): works
    #   3. read(0, 9, 0): 2:xy
    #   4. fstat(0): size 2
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
            print("open(0, 'a', 'RDONLY', 438)", actor.open(fd=0, path='a', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY', 438)", repr(error))
        try:
            print("write_file('a', 'y', 1, 'append')", actor.write_file(path='a', text='y', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'y', 1, 'append')", repr(error))
        try:
            print('read(0, 9, 0)', actor.read(fd=0, size=9, offset=0))
        except (OSError, KeyError) as error:
            print('read(0, 9, 0)', repr(error))
        try:
            print('fstat(0)', actor.fstat(fd=0))
        except (OSError, KeyError) as error:
            print('fstat(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def mapping_from_before_copy_up():
    # a shared mapping from before a copy-up shows what was written since
    # POSIX mmap(): MAP_SHARED; overlayfs.rst calls its own answer non-standard
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. map(0, 0, 4, 'read'): works
    #   3. map_read(0, 0, 4): 4:xxxx
    #   4. write_file('a', 'y', 1, 'inside'): works
    #   5. map_read(0, 0, 4): 4:yxxx
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('xxxx'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 'a', 'RDONLY', 438)", actor.open(fd=0, path='a', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY', 438)", repr(error))
        try:
            print("map(0, 0, 4, 'read')", actor.map(area=0, fd=0, length=4, access='read'))
        except (OSError, KeyError) as error:
            print("map(0, 0, 4, 'read')", repr(error))
        try:
            print('map_read(0, 0, 4)', actor.map_read(area=0, offset=0, length=4))
        except (OSError, KeyError) as error:
            print('map_read(0, 0, 4)', repr(error))
        try:
            print("write_file('a', 'y', 1, 'inside')", actor.write_file(path='a', text='y', times=1, how='inside'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'y', 1, 'inside')", repr(error))
        try:
            print('map_read(0, 0, 4)', actor.map_read(area=0, offset=0, length=4))
        except (OSError, KeyError) as error:
            print('map_read(0, 0, 4)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def mapping_written():
    # what is written to a shared mapping is in the file
    # POSIX mmap(), msync()
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. map(0, 0, 4, 'write'): works
    #   3. map_write(0, 1, 'yy'): works
    #   4. map_sync(0): works
    #   5. read_file('a'): 4:xyyx
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('xxxx'.encode("latin-1"))
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
        try:
            print("map(0, 0, 4, 'write')", actor.map(area=0, fd=0, length=4, access='write'))
        except (OSError, KeyError) as error:
            print("map(0, 0, 4, 'write')", repr(error))
        try:
            print("map_write(0, 1, 'yy')", actor.map_write(area=0, offset=1, text='yy'))
        except (OSError, KeyError) as error:
            print("map_write(0, 1, 'yy')", repr(error))
        try:
            print('map_sync(0)', actor.map_sync(area=0))
        except (OSError, KeyError) as error:
            print('map_sync(0)', repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def running_program():
    # a lower program that runs cannot be opened for writing
    # open(2): ETXTBSY
    #   1. start(0, 'p', []): works
    #   2. open(0, 'p', 'WRONLY', 438): ETXTBSY
    #   3. stop(0): works
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('p', "wb") as f: f.write('\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00>\x00\x01\x00\x00\x00x\x00@\x00\x00\x00\x00\x00@\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00@\x008\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00@\x00\x00\x00\x00\x00\x00\x00@\x00\x00\x00\x00\x00\x81\x00\x00\x00\x00\x00\x00\x00\x81\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00¸"\x00\x00\x00\x0f\x05ë÷'.encode("latin-1"))
    os.chmod('p', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("start(0, 'p', [])", actor.start(child=0, path='p', args=[]))
        except (OSError, KeyError) as error:
            print("start(0, 'p', [])", repr(error))
        try:
            print("open(0, 'p', 'WRONLY', 438)", actor.open(fd=0, path='p', flags='WRONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'p', 'WRONLY', 438)", repr(error))
        try:
            print('stop(0)', actor.stop(child=0))
        except (OSError, KeyError) as error:
            print('stop(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def unlinked_works():
    # an open file works on after it was unlinked
    # POSIX unlink(): until its last reference is closed
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. unlink('a'): works
    #   3. write(0, 'yz', 1, 1): works
    #   4. ftruncate(0, 2): works
    #   5. fchmod(0, 384): works
    #   6. fsetxattr(0, 'user.k', 'v'): works
    #   7. fsync(0): works
    #   8. read(0, 9, 0): 2:xy
    #   9. fstat(0): size 2, mode 0600
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
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print("write(0, 'yz', 1, 1)", actor.write(fd=0, text='yz', times=1, offset=1))
        except (OSError, KeyError) as error:
            print("write(0, 'yz', 1, 1)", repr(error))
        try:
            print('ftruncate(0, 2)', actor.ftruncate(fd=0, size=2))
        except (OSError, KeyError) as error:
            print('ftruncate(0, 2)', repr(error))
        try:
            print('fchmod(0, 384)', actor.fchmod(fd=0, mode=384))
        except (OSError, KeyError) as error:
            print('fchmod(0, 384)', repr(error))
        try:
            print("fsetxattr(0, 'user.k', 'v')", actor.fsetxattr(fd=0, name='user.k', value='v'))
        except (OSError, KeyError) as error:
            print("fsetxattr(0, 'user.k', 'v')", repr(error))
        try:
            print('fsync(0)', actor.fsync(fd=0))
        except (OSError, KeyError) as error:
            print('fsync(0)', repr(error))
        try:
            print('read(0, 9, 0)', actor.read(fd=0, size=9, offset=0))
        except (OSError, KeyError) as error:
            print('read(0, 9, 0)', repr(error))
        try:
            print('fstat(0)', actor.fstat(fd=0))
        except (OSError, KeyError) as error:
            print('fstat(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def unlinked_link_count():
    # an open file that was unlinked has no links
    # POSIX unlink()
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. unlink('a'): works
    #   3. fstat(0): nlink 0
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
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print('fstat(0)', actor.fstat(fd=0))
        except (OSError, KeyError) as error:
            print('fstat(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def unlinked_read_only_works():
    # a lower file that is open for reading can be changed after it was unlinked
    # POSIX unlink(), fchmod(), futimens()
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. unlink('a'): works
    #   3. read(0, 9, 0): 1:x
    #   4. fchmod(0, 384): works
    #   5. futimens(0, 1000000000000000000, 1000000000000000000): works
    #   6. reopen(1, 0, 'RDWR'): works
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
            print("open(0, 'a', 'RDONLY', 438)", actor.open(fd=0, path='a', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY', 438)", repr(error))
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print('read(0, 9, 0)', actor.read(fd=0, size=9, offset=0))
        except (OSError, KeyError) as error:
            print('read(0, 9, 0)', repr(error))
        try:
            print('fchmod(0, 384)', actor.fchmod(fd=0, mode=384))
        except (OSError, KeyError) as error:
            print('fchmod(0, 384)', repr(error))
        try:
            print('futimens(0, 1000000000000000000, 1000000000000000000)', actor.futimens(fd=0, atime=1000000000000000000, mtime=1000000000000000000))
        except (OSError, KeyError) as error:
            print('futimens(0, 1000000000000000000, 1000000000000000000)', repr(error))
        try:
            print("reopen(1, 0, 'RDWR')", actor.reopen(fd=1, source=0, flags='RDWR'))
        except (OSError, KeyError) as error:
            print("reopen(1, 0, 'RDWR')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def unlinked_read_only_link_count():
    # a lower file that is open for reading has no links after it was unlinked
    # POSIX unlink()
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. unlink('a'): works
    #   3. fstat(0): nlink 0
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
            print("open(0, 'a', 'RDONLY', 438)", actor.open(fd=0, path='a', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY', 438)", repr(error))
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print('fstat(0)', actor.fstat(fd=0))
        except (OSError, KeyError) as error:
            print('fstat(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def unlinked_cannot_return():
    # an unlinked file cannot be given a name again
    # linkat(2), AT_SYMLINK_FOLLOW: ENOENT when the link count is 0
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. unlink('a'): works
    #   3. link_fd(0, 'b'): ENOENT
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
        try:
            print("unlink('a')", actor.unlink(path='a'))
        except (OSError, KeyError) as error:
            print("unlink('a')", repr(error))
        try:
            print("link_fd(0, 'b')", actor.link_fd(fd=0, path='b'))
        except (OSError, KeyError) as error:
            print("link_fd(0, 'b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def replaced_works():
    # an open file works on after another was renamed over it
    # POSIX rename()
    #   1. open(0, 'b', 'RDWR', 438): works
    #   2. rename('a', 'b', ''): works
    #   3. read(0, 9, 0): 1:y
    #   4. write(0, 'z', 1, 0): works
    #   5. read_file('b'): 1:x
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    with open('b', "wb") as f: f.write('y'.encode("latin-1"))
    os.chmod('b', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 'b', 'RDWR', 438)", actor.open(fd=0, path='b', flags='RDWR', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'b', 'RDWR', 438)", repr(error))
        try:
            print("rename('a', 'b', '')", actor.rename(source='a', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', '')", repr(error))
        try:
            print('read(0, 9, 0)', actor.read(fd=0, size=9, offset=0))
        except (OSError, KeyError) as error:
            print('read(0, 9, 0)', repr(error))
        try:
            print("write(0, 'z', 1, 0)", actor.write(fd=0, text='z', times=1, offset=0))
        except (OSError, KeyError) as error:
            print("write(0, 'z', 1, 0)", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def temporary_file():
    # O_TMPFILE, and giving it a name
    # open(2), O_TMPFILE
    #   1. open(0, '.', 'RDWR|TMPFILE', 438): works
    #   2. write(0, 'y', 1, None): works
    #   3. link_fd(0, 'b'): works
    #   4. read_file('b'): 1:y
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
            print("open(0, '.', 'RDWR|TMPFILE', 438)", actor.open(fd=0, path='.', flags='RDWR|TMPFILE', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, '.', 'RDWR|TMPFILE', 438)", repr(error))
        try:
            print("write(0, 'y', 1, None)", actor.write(fd=0, text='y', times=1, offset=None))
        except (OSError, KeyError) as error:
            print("write(0, 'y', 1, None)", repr(error))
        try:
            print("link_fd(0, 'b')", actor.link_fd(fd=0, path='b'))
        except (OSError, KeyError) as error:
            print("link_fd(0, 'b')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def flock():
    # flock(2) works between processes, over a copy-up
    # flock(2)
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. flock(0, 'exclusive'): works
    #   3. open(0, 'a', 'RDWR', 438) as actor 1: works
    #   4. flock(0, 'exclusive') as actor 1: EAGAIN
    #   5. flock(0, 'unlock'): works
    #   6. flock(0, 'exclusive') as actor 1: works
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
        actor = Crew(point)
        print("open(0, 'a', 'RDONLY', 438)", actor.call((0, 0, 0), 'open', dict(fd=0, path='a', flags='RDONLY', mode=438)))
        print("flock(0, 'exclusive')", actor.call((0, 0, 0), 'flock', dict(fd=0, kind='exclusive')))
        print("open(0, 'a', 'RDWR', 438) as actor 1", actor.call((1, 0, 0), 'open', dict(fd=0, path='a', flags='RDWR', mode=438)))
        print("flock(0, 'exclusive') as actor 1", actor.call((1, 0, 0), 'flock', dict(fd=0, kind='exclusive')))
        print("flock(0, 'unlock')", actor.call((0, 0, 0), 'flock', dict(fd=0, kind='unlock')))
        print("flock(0, 'exclusive') as actor 1", actor.call((1, 0, 0), 'flock', dict(fd=0, kind='exclusive')))
        actor.dismiss()
        show(point)
        unmount(point)


def posix_lock():
    # record locks work between processes
    # fcntl(2), F_SETLK: EAGAIN or EACCES
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. open(0, 'a', 'RDWR', 438) as actor 1: works
    #   3. posix_lock(0, 'exclusive', 0, 2): works
    #   4. posix_lock(0, 'exclusive', 1, 2) as actor 1: EAGAIN or EACCES
    #   5. posix_lock(0, 'exclusive', 2, 2) as actor 1: works
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('xxxx'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("open(0, 'a', 'RDWR', 438)", actor.call((0, 0, 0), 'open', dict(fd=0, path='a', flags='RDWR', mode=438)))
        print("open(0, 'a', 'RDWR', 438) as actor 1", actor.call((1, 0, 0), 'open', dict(fd=0, path='a', flags='RDWR', mode=438)))
        print("posix_lock(0, 'exclusive', 0, 2)", actor.call((0, 0, 0), 'posix_lock', dict(fd=0, kind='exclusive', start=0, length=2)))
        print("posix_lock(0, 'exclusive', 1, 2) as actor 1", actor.call((1, 0, 0), 'posix_lock', dict(fd=0, kind='exclusive', start=1, length=2)))
        print("posix_lock(0, 'exclusive', 2, 2) as actor 1", actor.call((1, 0, 0), 'posix_lock', dict(fd=0, kind='exclusive', start=2, length=2)))
        actor.dismiss()
        show(point)
        unmount(point)


PROBES = {
    'descriptor-from-before-copy-up': descriptor_from_before_copy_up,
    'mapping-from-before-copy-up': mapping_from_before_copy_up,
    'mapping-written': mapping_written,
    'running-program': running_program,
    'unlinked-works': unlinked_works,
    'unlinked-link-count': unlinked_link_count,
    'unlinked-read-only-works': unlinked_read_only_works,
    'unlinked-read-only-link-count': unlinked_read_only_link_count,
    'unlinked-cannot-return': unlinked_cannot_return,
    'replaced-works': replaced_works,
    'temporary-file': temporary_file,
    'flock': flock,
    'posix-lock': posix_lock,
}


LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_FLAGS = {"noreplace": 1, "exchange": 2, "whiteout": 4}
LOCKS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX, "unlock": fcntl.LOCK_UN}
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

    def read(self, fd: int, size: int, offset: int | None) -> str:
        number = self.fds[fd]
        data = os.read(number, size) if offset is None else os.pread(number, size, offset)
        return summary(data)

    def write(self, fd: int, text: str, times: int, offset: int | None) -> int:
        number, data = self.fds[fd], text.encode("latin-1") * times
        return os.write(number, data) if offset is None else os.pwrite(number, data, offset)

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(self.fds[fd], size)

    def fsync(self, fd: int) -> None:
        os.fsync(self.fds[fd])

    def fstat(self, fd: int) -> dict[str, Any]:
        return stat_result(os.fstat(self.fds[fd]))

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(self.fds[fd], mode)

    def futimens(self, fd: int, atime: int, mtime: int) -> None:
        os.utime(self.fds[fd], ns=(atime, mtime))

    def fsetxattr(self, fd: int, name: str, value: str) -> None:
        os.setxattr(self.fds[fd], name, value.encode("latin-1"))

    def reopen(self, fd: int, source: int, flags: str) -> None:
        new = os.open(f"/proc/self/fd/{self.fds[source]}", open_flags(flags))
        if fd in self.fds:
            os.close(self.fds[fd])
        self.fds[fd] = new

    def link_fd(self, fd: int, path: str) -> None:
        # linkat(2) with AT_SYMLINK_FOLLOW, the way open(2) names for giving an O_TMPFILE a name.
        source = f"/proc/self/fd/{self.fds[fd]}"
        check(LIBC.linkat(AT_FDCWD, source.encode(), AT_FDCWD, os.fsencode(path), 0x400))

    def flock(self, fd: int, kind: str) -> None:
        fcntl.flock(self.fds[fd], LOCKS[kind] | fcntl.LOCK_NB)

    def posix_lock(self, fd: int, kind: str, start: int, length: int) -> None:
        fcntl.lockf(self.fds[fd], LOCKS[kind] | fcntl.LOCK_NB, length, start)

    def map(self, area: int, fd: int, length: int, access: str) -> None:
        modes = {"read": mmap.PROT_READ, "write": mmap.PROT_READ | mmap.PROT_WRITE}
        self.maps[area] = mmap.mmap(self.fds[fd], length, mmap.MAP_SHARED, modes[access])

    def map_read(self, area: int, offset: int, length: int) -> str:
        return summary(self.maps[area][offset : offset + length])

    def map_write(self, area: int, offset: int, text: str) -> None:
        data = text.encode("latin-1")
        self.maps[area][offset : offset + len(data)] = data

    def map_sync(self, area: int) -> None:
        self.maps[area].flush()

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

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

    def start(self, child: int, path: str, args: list[str]) -> None:
        self.children[child] = subprocess.Popen([os.path.join(os.getcwd(), path), *args])

    def stop(self, child: int) -> int:
        process = self.children.pop(child)
        process.send_signal(signal.SIGKILL)
        return process.wait()


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
