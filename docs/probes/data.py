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


def sparse_copy_up():
    # a sparse file of 64 MiB stays sparse when it is copied up (blocks of 512 bytes)
    # nothing may fill the disk that was not written
    #   1. write_file('s', 'y', 1, 'inside'): works
    #   2. stat('s'): size 67108864
    #   3. raw_upper('s'): blocks at most 4096
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('x'.encode("latin-1")); f.truncate(67108864)
    os.chmod('s', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("write_file('s', 'y', 1, 'inside')", actor.write_file(path='s', text='y', times=1, how='inside'))
        except (OSError, KeyError) as error:
            print("write_file('s', 'y', 1, 'inside')", repr(error))
        try:
            print("stat('s')", actor.stat(path='s'))
        except (OSError, KeyError) as error:
            print("stat('s')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 's')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def fallocate():
    # fallocate(2)
    # fallocate(2)
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. fallocate(0, 'allocate', 0, 8192): works
    #   3. stat('a'): size 8192
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
            print("fallocate(0, 'allocate', 0, 8192)", actor.fallocate(fd=0, mode='allocate', offset=0, length=8192))
        except (OSError, KeyError) as error:
            print("fallocate(0, 'allocate', 0, 8192)", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def punch_hole():
    # fallocate(2) with FALLOC_FL_PUNCH_HOLE
    # fallocate(2)
    #   1. open(0, 'a', 'RDWR', 438): works
    #   2. fallocate(0, 'punch', 2, 4): works
    #   3. read_file('a'): 8:xx\x00\x00\x00\x00xx
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('xxxxxxxx'.encode("latin-1"))
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
            print("fallocate(0, 'punch', 2, 4)", actor.fallocate(fd=0, mode='punch', offset=2, length=4))
        except (OSError, KeyError) as error:
            print("fallocate(0, 'punch', 2, 4)", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def seek_hole():
    # lseek(2) finds the holes of a lower file, for cp(1) and tar(1)
    # lseek(2), SEEK_HOLE; that there is none but the end is allowed too, and slow
    #   1. open(0, 's', 'RDONLY', 438): works
    #   2. seek(0, 0, 'hole'): 4096
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'.encode("latin-1")); f.truncate(1048576)
    os.chmod('s', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open(0, 's', 'RDONLY', 438)", actor.open(fd=0, path='s', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 's', 'RDONLY', 438)", repr(error))
        try:
            print("seek(0, 0, 'hole')", actor.seek(fd=0, offset=0, whence='hole'))
        except (OSError, KeyError) as error:
            print("seek(0, 0, 'hole')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def copy_file_range():
    # copy_file_range(2) from a lower file to a new one
    # copy_file_range(2)
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. open(1, 'b', 'RDWR|CREAT', 438): works
    #   3. copy_range(0, 1, 4): 4
    #   4. read_file('b'): 4:abcd
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('abcd'.encode("latin-1"))
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
            print("open(1, 'b', 'RDWR|CREAT', 438)", actor.open(fd=1, path='b', flags='RDWR|CREAT', mode=438))
        except (OSError, KeyError) as error:
            print("open(1, 'b', 'RDWR|CREAT', 438)", repr(error))
        try:
            print('copy_range(0, 1, 4)', actor.copy_range(source=0, target=1, length=4))
        except (OSError, KeyError) as error:
            print('copy_range(0, 1, 4)', repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def clone():
    # FICLONE is refused with an error after which cp --reflink=auto copies
    # ioctl_ficlone(2): EOPNOTSUPP where the file system cannot
    #   1. open(0, 'a', 'RDONLY', 438): works
    #   2. open(1, 'b', 'RDWR|CREAT', 438): works
    #   3. clone(0, 1): ENOTSUP
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('abcd'.encode("latin-1"))
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
            print("open(1, 'b', 'RDWR|CREAT', 438)", actor.open(fd=1, path='b', flags='RDWR|CREAT', mode=438))
        except (OSError, KeyError) as error:
            print("open(1, 'b', 'RDWR|CREAT', 438)", repr(error))
        try:
            print('clone(0, 1)', actor.clone(source=0, target=1))
        except (OSError, KeyError) as error:
            print('clone(0, 1)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def inode_flags():
    # lsattr(1) reads a lower file's flags
    # ioctl_iflags(2)
    #   1. get_flags('a'): plain
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
            print("get_flags('a')", actor.get_flags(path='a'))
        except (OSError, KeyError) as error:
            print("get_flags('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def lower_access_time():
    # reading does not touch the lower layer's access time
    # overlayfs.rst: lower layers are never changed
    #   1. raw_lower('a', 0): atime as before (access time)
    #   2. read_file('a'): 1:x
    #   3. raw_lower('a', 0): atime as before (access time)
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
        print(os.lstat(os.path.join(lowers[0], 'a')))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        print(os.lstat(os.path.join(lowers[0], 'a')))
        leave(actor)
        show(point)
        unmount(point)


def setuid_at_write():
    # a write by another user takes the setuid bit of a lower file away
    # inode(7), S_ISUID; POSIX write(), chown()
    #   1. write_file('s', 'y', 1, 'append') as actor 3: works
    #   2. stat('s'): mode 0757, uid 1000
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('s', 1000, 1000)
    os.chmod('s', 0o4757)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("write_file('s', 'y', 1, 'append') as actor 3", actor.call((3, 1001, 1001), 'write_file', dict(path='s', text='y', times=1, how='append')))
        print("stat('s')", actor.call((0, 0, 0), 'stat', dict(path='s')))
        actor.dismiss()
        show(point)
        unmount(point)


def setuid_at_truncate():
    # truncate(2) by another user takes the setuid bit away
    # inode(7), S_ISUID; POSIX write(), chown()
    #   1. truncate('s', 0) as actor 3: works
    #   2. stat('s'): mode 0757, uid 1000
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('s', 1000, 1000)
    os.chmod('s', 0o4757)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Crew(point)
        print("truncate('s', 0) as actor 3", actor.call((3, 1001, 1001), 'truncate', dict(path='s', size=0)))
        print("stat('s')", actor.call((0, 0, 0), 'stat', dict(path='s')))
        actor.dismiss()
        show(point)
        unmount(point)


def setuid_at_chown():
    # chown(2) takes the setuid bit away
    # inode(7), S_ISUID; POSIX write(), chown()
    #   1. chown('s', 5, 6): works
    #   2. stat('s'): mode 0757, uid 5, gid 6
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('s', 1000, 1000)
    os.chmod('s', 0o4757)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('s', 5, 6)", actor.chown(path='s', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('s', 5, 6)", repr(error))
        try:
            print("stat('s')", actor.stat(path='s'))
        except (OSError, KeyError) as error:
            print("stat('s')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def setuid_at_chmod():
    # chmod(2) with the setuid bit keeps it through the copy-up
    # POSIX chmod()
    #   1. chmod('s', 2541): works
    #   2. remount(): works
    #   3. stat('s'): mode 4755, uid 1000
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('s', "wb") as f: f.write('x'.encode("latin-1"))
    os.chown('s', 1000, 1000)
    os.chmod('s', 0o4757)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chmod('s', 2541)", actor.chmod(path='s', mode=2541))
        except (OSError, KeyError) as error:
            print("chmod('s', 2541)", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('s')", actor.stat(path='s'))
        except (OSError, KeyError) as error:
            print("stat('s')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def capability_kept():
    # file capabilities go up with the file
    # capabilities(7): security.capability
    #   1. chmod('p', 457): works
    #   2. remount(): works
    #   3. get_xattr('p', 'security.capability'): 20:\x01\x00\x00\x02\x00 \x00\x00\x00\...
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('p', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('p', 0o755)
    os.setxattr('p', 'security.capability', '\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'.encode())
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chmod('p', 457)", actor.chmod(path='p', mode=457))
        except (OSError, KeyError) as error:
            print("chmod('p', 457)", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("get_xattr('p', 'security.capability')", actor.get_xattr(path='p', name='security.capability'))
        except (OSError, KeyError) as error:
            print("get_xattr('p', 'security.capability')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def capability_at_chown():
    # chown(2) takes file capabilities away
    # capabilities(7), as for setuid
    #   1. chown('p', 5, 6): works
    #   2. get_xattr('p', 'security.capability'): ENODATA
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('p', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('p', 0o755)
    os.setxattr('p', 'security.capability', '\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'.encode())
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('p', 5, 6)", actor.chown(path='p', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('p', 5, 6)", repr(error))
        try:
            print("get_xattr('p', 'security.capability')", actor.get_xattr(path='p', name='security.capability'))
        except (OSError, KeyError) as error:
            print("get_xattr('p', 'security.capability')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def fifo_copy_up():
    # a lower fifo is still one after a change of its owner
    # chown(2)
    #   1. chown('f', 5, 6): works
    #   2. stat('f'): type fifo, uid 5, gid 6
    #   3. remount(): works
    #   4. stat('f'): type fifo, uid 5, gid 6
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('f', stat.S_IFIFO | 0o600, os.makedev(0, 0))
    os.chmod('f', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def fifo_stays_fifo():
    # a lower fifo is still one after a change of its owner was refused
    # chown(2)
    #   1. chown('f', 5, 6): works or not
    #   2. stat('f'): type fifo
    #   3. remount(): works
    #   4. stat('f'): type fifo
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('f', stat.S_IFIFO | 0o600, os.makedev(0, 0))
    os.chmod('f', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def socket_copy_up():
    # a lower socket is still one after a change of its owner
    # chown(2)
    #   1. chown('f', 5, 6): works
    #   2. stat('f'): type socket, uid 5, gid 6
    #   3. remount(): works
    #   4. stat('f'): type socket, uid 5, gid 6
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('f', stat.S_IFSOCK | 0o600, os.makedev(0, 0))
    os.chmod('f', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def device_copy_up():
    # a lower device is still one after a change of its owner
    # chown(2)
    #   1. chown('f', 5, 6): works
    #   2. stat('f'): type char, uid 5, gid 6
    #   3. remount(): works
    #   4. stat('f'): type char, uid 5, gid 6
    #   5. stat('f'): rdev 1:3
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('f', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chmod('f', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def device_stays_device():
    # a lower device is still one after a change of its owner was refused
    # chown(2)
    #   1. chown('f', 5, 6): works or not
    #   2. stat('f'): type char
    #   3. remount(): works
    #   4. stat('f'): type char
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('f', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chmod('f', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def symlink_copy_up():
    # a lower symbolic link keeps its target after a change of its owner
    # chown(2), lchown
    #   1. chown('f', 5, 6): works
    #   2. stat('f'): type symlink, uid 5, gid 6
    #   3. remount(): works
    #   4. stat('f'): type symlink, uid 5, gid 6
    #   5. readlink('f'): target
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.symlink('target', 'f')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("chown('f', 5, 6)", actor.chown(path='f', uid=5, gid=6))
        except (OSError, KeyError) as error:
            print("chown('f', 5, 6)", repr(error))
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('f')", actor.stat(path='f'))
        except (OSError, KeyError) as error:
            print("stat('f')", repr(error))
        try:
            print("readlink('f')", actor.readlink(path='f'))
        except (OSError, KeyError) as error:
            print("readlink('f')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


PROBES = {
    'sparse-copy-up': sparse_copy_up,
    'fallocate': fallocate,
    'punch-hole': punch_hole,
    'seek-hole': seek_hole,
    'copy-file-range': copy_file_range,
    'clone': clone,
    'inode-flags': inode_flags,
    'lower-access-time': lower_access_time,
    'setuid-at-write': setuid_at_write,
    'setuid-at-truncate': setuid_at_truncate,
    'setuid-at-chown': setuid_at_chown,
    'setuid-at-chmod': setuid_at_chmod,
    'capability-kept': capability_kept,
    'capability-at-chown': capability_at_chown,
    'fifo-copy-up': fifo_copy_up,
    'fifo-stays-fifo': fifo_stays_fifo,
    'socket-copy-up': socket_copy_up,
    'device-copy-up': device_copy_up,
    'device-stays-device': device_stays_device,
    'symlink-copy-up': symlink_copy_up,
}


LIBC = ctypes.CDLL(None, use_errno=True)
FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
FALLOCATE_MODES = {"allocate": 0, "keep-size": 1, "punch": 3, "zero": 16}
SEEK = {"set": 0, "cur": 1, "end": 2, "data": 3, "hole": 4}
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

    def seek(self, fd: int, offset: int, whence: str) -> int:
        return os.lseek(self.fds[fd], offset, SEEK[whence])

    def fallocate(self, fd: int, mode: str, offset: int, length: int) -> None:
        check(LIBC.fallocate(self.fds[fd], FALLOCATE_MODES[mode], offset, length))

    def copy_range(self, source: int, target: int, length: int) -> int:
        return os.copy_file_range(self.fds[source], self.fds[target], length, 0, 0)

    def clone(self, source: int, target: int) -> None:
        fcntl.ioctl(self.fds[target], FICLONE, self.fds[source])

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

    def truncate(self, path: str, size: int) -> None:
        # To the size that it has: whether the times move is up to the disk, so nothing to compare.
        if os.stat(path).st_size != size:
            os.truncate(path, size)

    def readlink(self, path: str) -> str:
        return os.readlink(path)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, follow_symlinks=False)

    def get_xattr(self, path: str, name: str) -> str:
        return summary(os.getxattr(path, name, follow_symlinks=False))

    def get_flags(self, path: str) -> str:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            (bits,) = struct.unpack("i", fcntl.ioctl(number, FS_IOC_GETFLAGS, bytes(4)))
        finally:
            os.close(number)
        return "immutable" if bits & 0x10 else "plain"


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
