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


def rename_lower_directory():
    # rename a directory of a lower layer
    # rename(2): EXDEV is for two file systems, and this is one
    #   1. rename('d', 'e', ''): works
    #   2. read_file('e/a'): 1:x
    #   3. stat('d'): ENOENT
    #   4. remount(): works
    #   5. read_file('e/a'): 1:x
    #   6. stat('d'): ENOENT
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
            print("rename('d', 'e', '')", actor.rename(source='d', target='e', flags=''))
        except (OSError, KeyError) as error:
            print("rename('d', 'e', '')", repr(error))
        try:
            print("read_file('e/a')", actor.read_file(path='e/a'))
        except (OSError, KeyError) as error:
            print("read_file('e/a')", repr(error))
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
            print("read_file('e/a')", actor.read_file(path='e/a'))
        except (OSError, KeyError) as error:
            print("read_file('e/a')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_merged_directory():
    # rename a directory that two layers have
    # rename(2): EXDEV is for two file systems, and this is one
    #   1. rename('d', 'e', ''): works
    #   2. list_dir('e'): ["a file", "b file"]
    #   3. remount(): works
    #   4. list_dir('e'): ["a file", "b file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/b', "wb") as f: f.write('y'.encode("latin-1"))
    os.chmod('d/b', 0o644)
    
    lowers.append(f"{BASE}/lower1")
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
            print("rename('d', 'e', '')", actor.rename(source='d', target='e', flags=''))
        except (OSError, KeyError) as error:
            print("rename('d', 'e', '')", repr(error))
        try:
            print("list_dir('e')", actor.list_dir(path='e'))
        except (OSError, KeyError) as error:
            print("list_dir('e')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('e')", actor.list_dir(path='e'))
        except (OSError, KeyError) as error:
            print("list_dir('e')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_new_directory():
    # rename a directory that is only in the upper
    # rename(2)
    #   1. mkdir('p', 493): works
    #   2. write_file('p/f', 'x', 1, 'truncate'): works
    #   3. rename('p', 'q', ''): works
    #   4. remount(): works
    #   5. read_file('q/f'): 1:x
    #   6. stat('p'): ENOENT
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
            print("mkdir('p', 493)", actor.mkdir(path='p', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('p', 493)", repr(error))
        try:
            print("write_file('p/f', 'x', 1, 'truncate')", actor.write_file(path='p/f', text='x', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('p/f', 'x', 1, 'truncate')", repr(error))
        try:
            print("rename('p', 'q', '')", actor.rename(source='p', target='q', flags=''))
        except (OSError, KeyError) as error:
            print("rename('p', 'q', '')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('q/f')", actor.read_file(path='q/f'))
        except (OSError, KeyError) as error:
            print("read_file('q/f')", repr(error))
        try:
            print("stat('p')", actor.stat(path='p'))
        except (OSError, KeyError) as error:
            print("stat('p')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_new_directory_over_deleted():
    # rename a new directory to where a lower one was deleted
    # overlayfs.rst, whiteouts and opaque directories: it must be opaque
    #   1. remove_tree('m/d'): works
    #   2. mkdir('p', 493): works
    #   3. write_file('p/new', 'x', 1, 'truncate'): works
    #   4. rename('p', 'm/d', ''): works
    #   5. list_dir('m/d'): ["new file"]
    #   6. remount(): works
    #   7. list_dir('m/d'): ["new file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('m')
    os.chmod('m', 0o755)
    os.mkdir('m/d')
    os.chmod('m/d', 0o755)
    with open('m/d/old', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('m/d/old', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("remove_tree('m/d')", actor.remove_tree(path='m/d'))
        except (OSError, KeyError) as error:
            print("remove_tree('m/d')", repr(error))
        try:
            print("mkdir('p', 493)", actor.mkdir(path='p', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('p', 493)", repr(error))
        try:
            print("write_file('p/new', 'x', 1, 'truncate')", actor.write_file(path='p/new', text='x', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('p/new', 'x', 1, 'truncate')", repr(error))
        try:
            print("rename('p', 'm/d', '')", actor.rename(source='p', target='m/d', flags=''))
        except (OSError, KeyError) as error:
            print("rename('p', 'm/d', '')", repr(error))
        try:
            print("list_dir('m/d')", actor.list_dir(path='m/d'))
        except (OSError, KeyError) as error:
            print("list_dir('m/d')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('m/d')", actor.list_dir(path='m/d'))
        except (OSError, KeyError) as error:
            print("list_dir('m/d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_file_over_file():
    # rename a lower file over another: content, number and time go along
    # rename(2)
    #   1. stat('a'): ino as before (inode of a), mtime as before (time of a)
    #   2. rename('a', 'b', ''): works
    #   3. stat('b'): ino as before (inode of a), mtime as before (time of a)
    #   4. read_file('b'): 1:x
    #   5. remount(): works
    #   6. read_file('b'): 1:x
    #   7. stat('a'): ENOENT
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
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("rename('a', 'b', '')", actor.rename(source='a', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', '')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_onto_deleted():
    # rename to a name that was deleted
    # rename(2)
    #   1. unlink('b'): works
    #   2. rename('a', 'b', ''): works
    #   3. remount(): works
    #   4. read_file('b'): 1:x
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
            print("unlink('b')", actor.unlink(path='b'))
        except (OSError, KeyError) as error:
            print("unlink('b')", repr(error))
        try:
            print("rename('a', 'b', '')", actor.rename(source='a', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', '')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_noreplace():
    # RENAME_NOREPLACE to a name that a lower layer has
    # rename(2): EEXIST
    #   1. rename('a', 'b', 'noreplace'): EEXIST
    #   2. read_file('b'): 1:y
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
            print("rename('a', 'b', 'noreplace')", actor.rename(source='a', target='b', flags='noreplace'))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', 'noreplace')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_noreplace_deleted():
    # RENAME_NOREPLACE to a name that was deleted
    # rename(2): nothing is there
    #   1. unlink('b'): works
    #   2. rename('a', 'b', 'noreplace'): works
    #   3. read_file('b'): 1:x
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
            print("unlink('b')", actor.unlink(path='b'))
        except (OSError, KeyError) as error:
            print("unlink('b')", repr(error))
        try:
            print("rename('a', 'b', 'noreplace')", actor.rename(source='a', target='b', flags='noreplace'))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', 'noreplace')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_leaves_no_needless_whiteout():
    # a new file renamed over a lower one, as sed -i does, leaves nothing at its old name
    # overlayfs.rst: a whiteout hides a lower name, and there is none
    #   1. write_file('t', 'new', 1, 'truncate'): works
    #   2. rename('t', 'a', ''): works
    #   3. read_file('a'): 3:new
    #   4. raw_upper('t'): nothing there
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
            print("write_file('t', 'new', 1, 'truncate')", actor.write_file(path='t', text='new', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('t', 'new', 1, 'truncate')", repr(error))
        try:
            print("rename('t', 'a', '')", actor.rename(source='t', target='a', flags=''))
        except (OSError, KeyError) as error:
            print("rename('t', 'a', '')", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 't')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def rename_of_new_link_leaves_no_needless_whiteout():
    # a new link of a lower file, renamed, leaves nothing at its old name
    # overlayfs.rst: a whiteout hides a lower name, and there is none
    #   1. link('a', 't'): works
    #   2. rename('t', 'b', ''): works
    #   3. read_file('b'): 1:x
    #   4. raw_upper('t'): nothing there
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
            print("link('a', 't')", actor.link(source='a', target='t'))
        except (OSError, KeyError) as error:
            print("link('a', 't')", repr(error))
        try:
            print("rename('t', 'b', '')", actor.rename(source='t', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('t', 'b', '')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 't')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        show(point)
        unmount(point)


def rename_exchange_files():
    # RENAME_EXCHANGE of two lower files
    # rename(2)
    #   1. rename('a', 'b', 'exchange'): works
    #   2. remount(): works
    #   3. read_file('a'): 1:y
    #   4. read_file('b'): 1:x
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
            print("rename('a', 'b', 'exchange')", actor.rename(source='a', target='b', flags='exchange'))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', 'exchange')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_exchange_file_and_directory():
    # RENAME_EXCHANGE of a lower file and a new directory
    # rename(2)
    #   1. mkdir('p', 493): works
    #   2. write_file('p/f', 'y', 1, 'truncate'): works
    #   3. rename('a', 'p', 'exchange'): works
    #   4. read_file('a/f'): 1:y
    #   5. read_file('p'): 1:x
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
            print("mkdir('p', 493)", actor.mkdir(path='p', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('p', 493)", repr(error))
        try:
            print("write_file('p/f', 'y', 1, 'truncate')", actor.write_file(path='p/f', text='y', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('p/f', 'y', 1, 'truncate')", repr(error))
        try:
            print("rename('a', 'p', 'exchange')", actor.rename(source='a', target='p', flags='exchange'))
        except (OSError, KeyError) as error:
            print("rename('a', 'p', 'exchange')", repr(error))
        try:
            print("read_file('a/f')", actor.read_file(path='a/f'))
        except (OSError, KeyError) as error:
            print("read_file('a/f')", repr(error))
        try:
            print("read_file('p')", actor.read_file(path='p'))
        except (OSError, KeyError) as error:
            print("read_file('p')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_exchange_directories():
    # RENAME_EXCHANGE of two lower directories
    # rename(2)
    #   1. rename('d', 'e', 'exchange'): works
    #   2. read_file('e/a'): 1:x
    #   3. remount(): works
    #   4. read_file('d/b'): 1:y
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.mkdir('e')
    os.chmod('e', 0o755)
    with open('e/b', "wb") as f: f.write('y'.encode("latin-1"))
    os.chmod('e/b', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rename('d', 'e', 'exchange')", actor.rename(source='d', target='e', flags='exchange'))
        except (OSError, KeyError) as error:
            print("rename('d', 'e', 'exchange')", repr(error))
        try:
            print("read_file('e/a')", actor.read_file(path='e/a'))
        except (OSError, KeyError) as error:
            print("read_file('e/a')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('d/b')", actor.read_file(path='d/b'))
        except (OSError, KeyError) as error:
            print("read_file('d/b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_whiteout():
    # RENAME_WHITEOUT, which an overlay on top of this one needs
    # rename(2); overlayfs.rst: an upper must support it
    #   1. rename('a', 'b', 'whiteout'): works
    #   2. read_file('b'): 1:x
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
            print("rename('a', 'b', 'whiteout')", actor.rename(source='a', target='b', flags='whiteout'))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', 'whiteout')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_file_over_directory():
    # rename a file over a directory
    # rename(2): EISDIR
    #   1. rename('a', 'd', ''): EISDIR
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rename('a', 'd', '')", actor.rename(source='a', target='d', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'd', '')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_directory_over_file():
    # rename a directory over a file
    # rename(2): ENOTDIR
    #   1. rename('d', 'a', ''): ENOTDIR
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rename('d', 'a', '')", actor.rename(source='d', target='a', flags=''))
        except (OSError, KeyError) as error:
            print("rename('d', 'a', '')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_over_emptied_directory():
    # rename a new directory over a lower one whose entries were deleted
    # rename(2): an empty directory is replaced, and nothing of it comes back
    #   1. unlink('m/a'): works
    #   2. unlink('m/b'): works
    #   3. mkdir('p', 493): works
    #   4. write_file('p/f', 'x', 1, 'truncate'): works
    #   5. rename('p', 'm', ''): works
    #   6. list_dir('m'): ["f file"]
    #   7. raw_upper('m'): names ["f"]
    #   8. remount(): works
    #   9. list_dir('m'): ["f file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('m')
    os.chmod('m', 0o755)
    with open('m/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('m/a', 0o644)
    with open('m/b', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('m/b', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("unlink('m/a')", actor.unlink(path='m/a'))
        except (OSError, KeyError) as error:
            print("unlink('m/a')", repr(error))
        try:
            print("unlink('m/b')", actor.unlink(path='m/b'))
        except (OSError, KeyError) as error:
            print("unlink('m/b')", repr(error))
        try:
            print("mkdir('p', 493)", actor.mkdir(path='p', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('p', 493)", repr(error))
        try:
            print("write_file('p/f', 'x', 1, 'truncate')", actor.write_file(path='p/f', text='x', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('p/f', 'x', 1, 'truncate')", repr(error))
        try:
            print("rename('p', 'm', '')", actor.rename(source='p', target='m', flags=''))
        except (OSError, KeyError) as error:
            print("rename('p', 'm', '')", repr(error))
        try:
            print("list_dir('m')", actor.list_dir(path='m'))
        except (OSError, KeyError) as error:
            print("list_dir('m')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'm')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('m')", actor.list_dir(path='m'))
        except (OSError, KeyError) as error:
            print("list_dir('m')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_over_full_directory():
    # rename a directory over one that is not empty
    # rename(2): ENOTEMPTY or EEXIST
    #   1. mkdir('p', 493): works
    #   2. rename('p', 'm', ''): ENOTEMPTY or EEXIST
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('m')
    os.chmod('m', 0o755)
    with open('m/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('m/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("mkdir('p', 493)", actor.mkdir(path='p', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('p', 493)", repr(error))
        try:
            print("rename('p', 'm', '')", actor.rename(source='p', target='m', flags=''))
        except (OSError, KeyError) as error:
            print("rename('p', 'm', '')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_into_itself():
    # rename a directory below itself
    # rename(2): EINVAL
    #   1. rename('d', 'd/e/f', ''): EINVAL
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.mkdir('d/e')
    os.chmod('d/e', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rename('d', 'd/e/f', '')", actor.rename(source='d', target='d/e/f', flags=''))
        except (OSError, KeyError) as error:
            print("rename('d', 'd/e/f', '')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def rename_between_hard_links():
    # rename one name of a lower file over another name of it
    # rename(2): two names of one file: nothing is done
    #   1. rename('a', 'b', ''): works
    #   2. read_file('a'): 1:x
    #   3. read_file('b'): 1:x
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('x'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.link('a', 'b')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("rename('a', 'b', '')", actor.rename(source='a', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', '')", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


PROBES = {
    'rename-lower-directory': rename_lower_directory,
    'rename-merged-directory': rename_merged_directory,
    'rename-new-directory': rename_new_directory,
    'rename-new-directory-over-deleted': rename_new_directory_over_deleted,
    'rename-file-over-file': rename_file_over_file,
    'rename-onto-deleted': rename_onto_deleted,
    'rename-noreplace': rename_noreplace,
    'rename-noreplace-deleted': rename_noreplace_deleted,
    'rename-leaves-no-needless-whiteout': rename_leaves_no_needless_whiteout,
    'rename-of-new-link-leaves-no-needless-whiteout': rename_of_new_link_leaves_no_needless_whiteout,
    'rename-exchange-files': rename_exchange_files,
    'rename-exchange-file-and-directory': rename_exchange_file_and_directory,
    'rename-exchange-directories': rename_exchange_directories,
    'rename-whiteout': rename_whiteout,
    'rename-file-over-directory': rename_file_over_directory,
    'rename-directory-over-file': rename_directory_over_file,
    'rename-over-emptied-directory': rename_over_emptied_directory,
    'rename-over-full-directory': rename_over_full_directory,
    'rename-into-itself': rename_into_itself,
    'rename-between-hard-links': rename_between_hard_links,
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

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

    def link(self, source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

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
