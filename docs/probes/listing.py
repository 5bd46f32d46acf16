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


def readdir_rewind():
    # an entry made while a directory is read shows after rewinddir(3)
    # POSIX rewinddir()
    #   1. open_dir(0, 'd'): works
    #   2. read_dir(0, 3): works
    #   3. create('d/new', 420): works
    #   4. rewind_dir(0): works
    #   5. read_dir(0, 200): with new file
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/t00', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t00', 0o644)
    with open('d/t01', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t01', 0o644)
    with open('d/t02', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t02', 0o644)
    with open('d/t03', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t03', 0o644)
    with open('d/t04', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t04', 0o644)
    with open('d/t05', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t05', 0o644)
    with open('d/t06', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t06', 0o644)
    with open('d/t07', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t07', 0o644)
    with open('d/t08', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t08', 0o644)
    with open('d/t09', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t09', 0o644)
    with open('d/t10', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t10', 0o644)
    with open('d/t11', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t11', 0o644)
    with open('d/t12', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t12', 0o644)
    with open('d/t13', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t13', 0o644)
    with open('d/t14', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t14', 0o644)
    with open('d/t15', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t15', 0o644)
    with open('d/t16', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t16', 0o644)
    with open('d/t17', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t17', 0o644)
    with open('d/t18', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t18', 0o644)
    with open('d/t19', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t19', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/b00', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b00', 0o644)
    with open('d/b01', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b01', 0o644)
    with open('d/b02', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b02', 0o644)
    with open('d/b03', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b03', 0o644)
    with open('d/b04', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b04', 0o644)
    with open('d/b05', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b05', 0o644)
    with open('d/b06', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b06', 0o644)
    with open('d/b07', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b07', 0o644)
    with open('d/b08', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b08', 0o644)
    with open('d/b09', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b09', 0o644)
    with open('d/b10', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b10', 0o644)
    with open('d/b11', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b11', 0o644)
    with open('d/b12', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b12', 0o644)
    with open('d/b13', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b13', 0o644)
    with open('d/b14', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b14', 0o644)
    with open('d/b15', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b15', 0o644)
    with open('d/b16', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b16', 0o644)
    with open('d/b17', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b17', 0o644)
    with open('d/b18', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b18', 0o644)
    with open('d/b19', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b19', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open_dir(0, 'd')", actor.open_dir(stream=0, path='d'))
        except (OSError, KeyError) as error:
            print("open_dir(0, 'd')", repr(error))
        try:
            print('read_dir(0, 3)', actor.read_dir(stream=0, count=3))
        except (OSError, KeyError) as error:
            print('read_dir(0, 3)', repr(error))
        try:
            print("create('d/new', 420)", actor.create(path='d/new', mode=420))
        except (OSError, KeyError) as error:
            print("create('d/new', 420)", repr(error))
        try:
            print('rewind_dir(0)', actor.rewind_dir(stream=0))
        except (OSError, KeyError) as error:
            print('rewind_dir(0)', repr(error))
        try:
            print('read_dir(0, 200)', actor.read_dir(stream=0, count=200))
        except (OSError, KeyError) as error:
            print('read_dir(0, 200)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def readdir_seek():
    # seekdir(3) to where telldir(3) was goes on with the same entry
    # POSIX seekdir()
    #   1. open_dir(0, 'd'): works
    #   2. read_dir(0, 24): works
    #   3. tell_dir(0, 0): works
    #   4. read_dir(0, 5): as before (next five)
    #   5. read_dir(0, 10): works
    #   6. seek_dir(0, 0): works
    #   7. read_dir(0, 5): as before (next five)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/t00', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t00', 0o644)
    with open('d/t01', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t01', 0o644)
    with open('d/t02', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t02', 0o644)
    with open('d/t03', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t03', 0o644)
    with open('d/t04', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t04', 0o644)
    with open('d/t05', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t05', 0o644)
    with open('d/t06', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t06', 0o644)
    with open('d/t07', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t07', 0o644)
    with open('d/t08', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t08', 0o644)
    with open('d/t09', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t09', 0o644)
    with open('d/t10', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t10', 0o644)
    with open('d/t11', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t11', 0o644)
    with open('d/t12', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t12', 0o644)
    with open('d/t13', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t13', 0o644)
    with open('d/t14', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t14', 0o644)
    with open('d/t15', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t15', 0o644)
    with open('d/t16', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t16', 0o644)
    with open('d/t17', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t17', 0o644)
    with open('d/t18', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t18', 0o644)
    with open('d/t19', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/t19', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/b00', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b00', 0o644)
    with open('d/b01', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b01', 0o644)
    with open('d/b02', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b02', 0o644)
    with open('d/b03', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b03', 0o644)
    with open('d/b04', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b04', 0o644)
    with open('d/b05', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b05', 0o644)
    with open('d/b06', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b06', 0o644)
    with open('d/b07', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b07', 0o644)
    with open('d/b08', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b08', 0o644)
    with open('d/b09', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b09', 0o644)
    with open('d/b10', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b10', 0o644)
    with open('d/b11', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b11', 0o644)
    with open('d/b12', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b12', 0o644)
    with open('d/b13', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b13', 0o644)
    with open('d/b14', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b14', 0o644)
    with open('d/b15', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b15', 0o644)
    with open('d/b16', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b16', 0o644)
    with open('d/b17', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b17', 0o644)
    with open('d/b18', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b18', 0o644)
    with open('d/b19', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b19', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open_dir(0, 'd')", actor.open_dir(stream=0, path='d'))
        except (OSError, KeyError) as error:
            print("open_dir(0, 'd')", repr(error))
        try:
            print('read_dir(0, 24)', actor.read_dir(stream=0, count=24))
        except (OSError, KeyError) as error:
            print('read_dir(0, 24)', repr(error))
        try:
            print('tell_dir(0, 0)', actor.tell_dir(stream=0, mark=0))
        except (OSError, KeyError) as error:
            print('tell_dir(0, 0)', repr(error))
        try:
            print('read_dir(0, 5)', actor.read_dir(stream=0, count=5))
        except (OSError, KeyError) as error:
            print('read_dir(0, 5)', repr(error))
        try:
            print('read_dir(0, 10)', actor.read_dir(stream=0, count=10))
        except (OSError, KeyError) as error:
            print('read_dir(0, 10)', repr(error))
        try:
            print('seek_dir(0, 0)', actor.seek_dir(stream=0, mark=0))
        except (OSError, KeyError) as error:
            print('seek_dir(0, 0)', repr(error))
        try:
            print('read_dir(0, 5)', actor.read_dir(stream=0, count=5))
        except (OSError, KeyError) as error:
            print('read_dir(0, 5)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def readdir_while_deleting():
    # deleting each of 1500 entries while reading meets every one once
    # POSIX readdir(): entries that stay are returned once
    #   1. create_many('d', 1440): works
    #   2. remove_while_reading('d'): 1500
    #   3. list_dir('d'): []
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/f000000', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000000', 0o644)
    with open('d/f000001', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000001', 0o644)
    with open('d/f000002', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000002', 0o644)
    with open('d/f000003', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000003', 0o644)
    with open('d/f000004', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000004', 0o644)
    with open('d/f000005', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000005', 0o644)
    with open('d/f000006', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000006', 0o644)
    with open('d/f000007', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000007', 0o644)
    with open('d/f000008', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000008', 0o644)
    with open('d/f000009', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000009', 0o644)
    with open('d/f000010', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000010', 0o644)
    with open('d/f000011', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000011', 0o644)
    with open('d/f000012', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000012', 0o644)
    with open('d/f000013', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000013', 0o644)
    with open('d/f000014', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000014', 0o644)
    with open('d/f000015', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000015', 0o644)
    with open('d/f000016', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000016', 0o644)
    with open('d/f000017', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000017', 0o644)
    with open('d/f000018', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000018', 0o644)
    with open('d/f000019', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000019', 0o644)
    with open('d/f000020', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000020', 0o644)
    with open('d/f000021', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000021', 0o644)
    with open('d/f000022', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000022', 0o644)
    with open('d/f000023', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000023', 0o644)
    with open('d/f000024', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000024', 0o644)
    with open('d/f000025', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000025', 0o644)
    with open('d/f000026', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000026', 0o644)
    with open('d/f000027', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000027', 0o644)
    with open('d/f000028', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000028', 0o644)
    with open('d/f000029', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000029', 0o644)
    with open('d/f000030', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000030', 0o644)
    with open('d/f000031', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000031', 0o644)
    with open('d/f000032', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000032', 0o644)
    with open('d/f000033', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000033', 0o644)
    with open('d/f000034', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000034', 0o644)
    with open('d/f000035', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000035', 0o644)
    with open('d/f000036', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000036', 0o644)
    with open('d/f000037', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000037', 0o644)
    with open('d/f000038', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000038', 0o644)
    with open('d/f000039', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000039', 0o644)
    with open('d/f000040', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000040', 0o644)
    with open('d/f000041', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000041', 0o644)
    with open('d/f000042', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000042', 0o644)
    with open('d/f000043', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000043', 0o644)
    with open('d/f000044', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000044', 0o644)
    with open('d/f000045', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000045', 0o644)
    with open('d/f000046', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000046', 0o644)
    with open('d/f000047', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000047', 0o644)
    with open('d/f000048', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000048', 0o644)
    with open('d/f000049', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000049', 0o644)
    with open('d/f000050', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000050', 0o644)
    with open('d/f000051', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000051', 0o644)
    with open('d/f000052', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000052', 0o644)
    with open('d/f000053', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000053', 0o644)
    with open('d/f000054', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000054', 0o644)
    with open('d/f000055', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000055', 0o644)
    with open('d/f000056', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000056', 0o644)
    with open('d/f000057', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000057', 0o644)
    with open('d/f000058', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000058', 0o644)
    with open('d/f000059', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/f000059', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("create_many('d', 1440)", actor.create_many(path='d', count=1440))
        except (OSError, KeyError) as error:
            print("create_many('d', 1440)", repr(error))
        try:
            print("remove_while_reading('d')", actor.remove_while_reading(path='d'))
        except (OSError, KeyError) as error:
            print("remove_while_reading('d')", repr(error))
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def readdir_no_duplicates():
    # a name that two layers have is listed once, and is the upper one's
    # overlayfs.rst, merged directories
    #   1. list_dir('d'): ["a file"]
    #   2. read_file('d/a'): 3:top
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write('top'.encode("latin-1"))
    os.chmod('d/a', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write('low'.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        try:
            print("read_file('d/a')", actor.read_file(path='d/a'))
        except (OSError, KeyError) as error:
            print("read_file('d/a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def readdir_types():
    # readdir(3) tells the types
    # readdir(3), d_type
    #   1. open_dir(0, 'd'): works
    #   2. read_dir(0, 9): ["a file", "d dir", "l symlink", "p f..., in any order
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.mkdir('d/d')
    os.chmod('d/d', 0o755)
    os.symlink('a', 'd/l')
    os.mknod('d/p', stat.S_IFIFO | 0o600, os.makedev(0, 0))
    os.chmod('d/p', 0o644)
    os.mknod('d/s', stat.S_IFSOCK | 0o600, os.makedev(0, 0))
    os.chmod('d/s', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/l', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/l', 0o644)
    os.mkdir('d/p')
    os.chmod('d/p', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("open_dir(0, 'd')", actor.open_dir(stream=0, path='d'))
        except (OSError, KeyError) as error:
            print("open_dir(0, 'd')", repr(error))
        try:
            print('read_dir(0, 9)', actor.read_dir(stream=0, count=9))
        except (OSError, KeyError) as error:
            print('read_dir(0, 9)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def whiteout_hides_below():
    # a whiteout hides lower layers only
    # overlayfs.rst, whiteouts
    #   1. read_file('a'): 3:top
    #   2. stat('b'): ENOENT
    #   3. list_dir('.'): ["a file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('top'.encode("latin-1"))
    os.chmod('a', 0o644)
    os.mknod('b', stat.S_IFCHR, 0)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mknod('a', stat.S_IFCHR, 0)
    with open('b', "wb") as f: f.write('middle'.encode("latin-1"))
    os.chmod('b', 0o644)
    
    lowers.append(f"{BASE}/lower2")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write('low'.encode("latin-1"))
    os.chmod('a', 0o644)
    with open('b', "wb") as f: f.write('low'.encode("latin-1"))
    os.chmod('b', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def opaque_hides_below():
    # an opaque directory hides the directories below it, also the third
    # overlayfs.rst, opaque directories
    #   1. list_dir('d'): ["a file", "b file"]
    #   2. stat('d/c'): ENOENT
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    os.setxattr('d', "trusted.overlay.opaque", b"y")
    with open('d/b', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b', 0o644)
    
    lowers.append(f"{BASE}/lower2")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/c', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/c', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        try:
            print("stat('d/c')", actor.stat(path='d/c'))
        except (OSError, KeyError) as error:
            print("stat('d/c')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def file_ends_the_merge():
    # a file between two directories ends the merge
    # overlayfs.rst: otherwise the lower object is hidden
    #   1. list_dir('d'): ["a file"]
    #   2. stat('d/b'): ENOENT
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('d', "wb") as f: f.write('between'.encode("latin-1"))
    os.chmod('d', 0o644)
    
    lowers.append(f"{BASE}/lower2")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/b', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b', 0o644)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        try:
            print("stat('d/b')", actor.stat(path='d/b'))
        except (OSError, KeyError) as error:
            print("stat('d/b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def xattr_whiteout():
    # an empty file with overlay.whiteout is neither listed nor found
    # overlayfs.rst: alternatively a whiteout is a file with that xattr
    #   1. stat('a'): ENOENT
    #   2. list_dir('.'): ["b file"]
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    with open('a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('a', 0o644)
    os.setxattr('a', 'trusted.overlay.whiteout', 'y'.encode())
    with open('b', "wb") as f: f.write('y'.encode("latin-1"))
    os.chmod('b', 0o644)
    
    lowers.append(f"{BASE}/lower1")
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
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


PROBES = {
    'readdir-rewind': readdir_rewind,
    'readdir-seek': readdir_seek,
    'readdir-while-deleting': readdir_while_deleting,
    'readdir-no-duplicates': readdir_no_duplicates,
    'readdir-types': readdir_types,
    'whiteout-hides-below': whiteout_hides_below,
    'opaque-hides-below': opaque_hides_below,
    'file-ends-the-merge': file_ends_the_merge,
    'xattr-whiteout': xattr_whiteout,
}


LIBC = ctypes.CDLL(None, use_errno=True)
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}
DIRENT_TYPES = {
    1: "fifo", 2: "char", 4: "dir", 6: "block", 8: "file", 10: "symlink", 12: "socket"
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

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def list_dir(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(
                f"{e.name} {TYPES[stat.S_IFMT(e.stat(follow_symlinks=False).st_mode)]}"
                for e in entries
            )

    def open_dir(self, stream: int, path: str) -> None:
        new = LIBC.opendir(os.fsencode(path))
        if not new:
            check(-1)
        if stream in self.streams:
            LIBC.closedir(self.streams[stream])
        self.streams[stream] = new

    def read_dir(self, stream: int, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            # struct dirent of readdir(3): d_ino and d_off of 8 bytes, d_reclen 2, d_type 1, d_name.
            entry = LIBC.readdir(self.streams[stream])
            if not entry:
                break
            name = os.fsdecode(ctypes.string_at(entry + 19))
            kind = DIRENT_TYPES.get(ctypes.string_at(entry + 18, 1)[0], "unknown")
            if name not in (".", ".."):
                found.append(f"{name} {kind}")
        return found

    def tell_dir(self, stream: int, mark: int) -> None:
        self.positions[mark] = LIBC.telldir(self.streams[stream])

    def seek_dir(self, stream: int, mark: int) -> None:
        LIBC.seekdir(self.streams[stream], self.positions[mark])

    def rewind_dir(self, stream: int) -> None:
        LIBC.rewinddir(self.streams[stream])

    def remove_while_reading(self, path: str) -> int:
        removed = 0
        with os.scandir(path) as entries:
            for entry in entries:
                os.unlink(entry.path)
                removed += 1
        return removed

    def create_many(self, path: str, count: int) -> None:
        for number in range(count):
            os.close(os.open(f"{path}/n{number:06d}", os.O_WRONLY | os.O_CREAT, 0o644))

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
