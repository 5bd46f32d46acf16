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


def number_at_copy_up():
    # a file keeps its numbers when it is copied up
    # POSIX <sys/stat.h>: st_dev and st_ino together identify the file
    #   1. stat('a'): identity as before (file)
    #   2. open(0, 'a', 'RDONLY', 438): works
    #   3. write_file('a', 'y', 1, 'append'): works
    #   4. stat('a'): identity as before (file)
    #   5. fstat(0): identity as before (file)
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
            print("open(0, 'a', 'RDONLY', 438)", actor.open(fd=0, path='a', flags='RDONLY', mode=438))
        except (OSError, KeyError) as error:
            print("open(0, 'a', 'RDONLY', 438)", repr(error))
        try:
            print("write_file('a', 'y', 1, 'append')", actor.write_file(path='a', text='y', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'y', 1, 'append')", repr(error))
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print('fstat(0)', actor.fstat(fd=0))
        except (OSError, KeyError) as error:
            print('fstat(0)', repr(error))
        leave(actor)
        show(point)
        unmount(point)


def number_of_file_over_remount():
    # a copied-up file keeps its inode number over a remount
    # backup and tar(1) recognise files by it
    #   1. stat('a'): ino as before (inode)
    #   2. write_file('a', 'y', 1, 'append'): works
    #   3. remount(): works
    #   4. stat('a'): ino as before (inode)
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
            print("write_file('a', 'y', 1, 'append')", actor.write_file(path='a', text='y', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'y', 1, 'append')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def number_of_directory_over_remount():
    # a lower directory keeps its inode number over a remount
    # backup and tar(1) recognise files by it
    #   1. stat('d'): ino as before (inode)
    #   2. remount(): works
    #   3. stat('d'): ino as before (inode)
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


def number_of_changed_directory_over_remount():
    # a directory that was copied up keeps its inode number over a remount
    # backup and tar(1) recognise files by it
    #   1. stat('d'): ino as before (inode)
    #   2. chmod('d', 448): works
    #   3. stat('d'): ino as before (inode)
    #   4. remount(): works
    #   5. stat('d'): ino as before (inode)
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


def number_of_renamed_over_remount():
    # a file that was renamed keeps its inode number over a remount
    # backup and tar(1) recognise files by it
    #   1. stat('a'): ino as before (inode)
    #   2. rename('a', 'b', ''): works
    #   3. stat('b'): ino as before (inode)
    #   4. remount(): works
    #   5. stat('b'): ino as before (inode)
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
            print("rename('a', 'b', '')", actor.rename(source='a', target='b', flags=''))
        except (OSError, KeyError) as error:
            print("rename('a', 'b', '')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def number_of_symlink_over_remount():
    # a symbolic link that was renamed keeps its inode number over a remount
    # backup and tar(1) recognise files by it
    #   1. stat('s'): ino as before (inode)
    #   2. rename('s', 't', ''): works
    #   3. remount(): works
    #   4. stat('t'): ino as before (inode)
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.symlink('a', 's')
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('s')", actor.stat(path='s'))
        except (OSError, KeyError) as error:
            print("stat('s')", repr(error))
        try:
            print("rename('s', 't', '')", actor.rename(source='s', target='t', flags=''))
        except (OSError, KeyError) as error:
            print("rename('s', 't', '')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("stat('t')", actor.stat(path='t'))
        except (OSError, KeyError) as error:
            print("stat('t')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def number_in_listing():
    # readdir(3) gives the inode numbers that stat(2) gives, also of what was copied up
    # POSIX <dirent.h>: d_ino; find(1), tar(1) and git(1) compare them
    #   1. misnumbered('d'): []
    #   2. chmod('d/b', 384): works
    #   3. write_file('d/new', 'x', 1, 'truncate'): works
    #   4. misnumbered('d'): []
    #   5. remount(): works
    #   6. misnumbered('d'): []
    lowers = []
    
    lowers.append(f"{BASE}/lower0")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/a', 0o644)
    os.mkdir('d/m')
    os.chmod('d/m', 0o755)
    
    lowers.append(f"{BASE}/lower1")
    os.mkdir(lowers[-1])
    os.chdir(lowers[-1])
    os.mkdir('d')
    os.chmod('d', 0o755)
    with open('d/b', "wb") as f: f.write(''.encode("latin-1"))
    os.chmod('d/b', 0o644)
    os.symlink('a', 'd/l')
    os.mkdir('d/m')
    os.chmod('d/m', 0o755)
    os.chdir("/")
    for side, command in COMMANDS.items():
        print("==", side)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("misnumbered('d')", actor.misnumbered(path='d'))
        except (OSError, KeyError) as error:
            print("misnumbered('d')", repr(error))
        try:
            print("chmod('d/b', 384)", actor.chmod(path='d/b', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('d/b', 384)", repr(error))
        try:
            print("write_file('d/new', 'x', 1, 'truncate')", actor.write_file(path='d/new', text='x', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('d/new', 'x', 1, 'truncate')", repr(error))
        try:
            print("misnumbered('d')", actor.misnumbered(path='d'))
        except (OSError, KeyError) as error:
            print("misnumbered('d')", repr(error))
        leave(actor)
        unmount(point)
        point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)
        actor = Actor()
        os.chdir(point)
        try:
            print("misnumbered('d')", actor.misnumbered(path='d'))
        except (OSError, KeyError) as error:
            print("misnumbered('d')", repr(error))
        leave(actor)
        show(point)
        unmount(point)


def two_disks_numbers_in_listing():
    # readdir(3) gives the numbers of stat(2) where layers lie on two file systems
    # POSIX <dirent.h>: d_ino
    #   1. mount -o lowerdir=one/l:two/l,upperdir=upper,workdir=work: works
    #   2. misnumbered('d'): []
    #   3. chmod('d/b', 384): works
    #   4. misnumbered('d'): []
    options = 'lowerdir=one/l:two/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        os.mkdir('one')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'one'], check=True)
        os.mkdir('two')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'two'], check=True)
        for name in ('one/l', 'two/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'one/l'))
        os.mkdir('d')
        os.chmod('d', 0o755)
        with open('d/a', "wb") as f: f.write(''.encode("latin-1"))
        os.chmod('d/a', 0o644)
        os.mkdir('d/m')
        os.chmod('d/m', 0o755)
        os.chdir(here)
        os.chdir(os.path.join(here, 'two/l'))
        os.mkdir('d')
        os.chmod('d', 0o755)
        with open('d/b', "wb") as f: f.write(''.encode("latin-1"))
        os.chmod('d/b', 0o644)
        os.mkdir('d/m')
        os.chmod('d/m', 0o755)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("misnumbered('d')", actor.misnumbered(path='d'))
        except (OSError, KeyError) as error:
            print("misnumbered('d')", repr(error))
        try:
            print("chmod('d/b', 384)", actor.chmod(path='d/b', mode=384))
        except (OSError, KeyError) as error:
            print("chmod('d/b', 384)", repr(error))
        try:
            print("misnumbered('d')", actor.misnumbered(path='d'))
        except (OSError, KeyError) as error:
            print("misnumbered('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt', 'one', 'two']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def two_disks_one_device():
    # layers on two file systems show one device number
    # POSIX: find -xdev, du -x and rm --one-file-system stop where st_dev changes
    #   1. mount -o lowerdir=one/l:two/l,upperdir=upper,workdir=work: works
    #   2. stat('a'): dev as before (device)
    #   3. stat('b'): dev as before (device)
    #   4. stat('d'): dev as before (device)
    options = 'lowerdir=one/l:two/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        os.mkdir('one')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'one'], check=True)
        os.mkdir('two')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'two'], check=True)
        for name in ('one/l', 'two/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'one/l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'two/l'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.mkdir('d')
        os.chmod('d', 0o755)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt', 'one', 'two']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def two_disks_two_files():
    # files of one inode number on two file systems are two files
    # POSIX <sys/stat.h>: st_dev and st_ino together identify the file
    #   1. mount -o lowerdir=one/l:two/l,upperdir=upper,workdir=work: works
    #   2. stat('a'): identity as before (file)
    #   3. stat('b'): identity another (file)
    options = 'lowerdir=one/l:two/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        os.mkdir('one')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'one'], check=True)
        os.mkdir('two')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'two'], check=True)
        for name in ('one/l', 'two/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'one/l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'two/l'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt', 'one', 'two']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def two_disks_number_at_copy_up():
    # a file keeps its numbers when it is copied up to another file system
    # POSIX <sys/stat.h>: st_dev and st_ino together identify the file
    #   1. mount -o lowerdir=one/l:two/l,upperdir=upper,workdir=work: works
    #   2. stat('b'): identity as before (file)
    #   3. write_file('b', 'z', 1, 'append'): works
    #   4. stat('b'): identity as before (file)
    options = 'lowerdir=one/l:two/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        os.mkdir('one')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'one'], check=True)
        os.mkdir('two')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'two'], check=True)
        for name in ('one/l', 'two/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'one/l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'two/l'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("write_file('b', 'z', 1, 'append')", actor.write_file(path='b', text='z', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('b', 'z', 1, 'append')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt', 'one', 'two']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def two_disks_numbers_over_remount():
    # files and directories of two file systems keep their numbers over a remount
    # backup and tar(1) recognise files by it
    #   1. mount -o lowerdir=one/l:two/l,upperdir=upper,workdir=work: works
    #   2. stat('a'): ino as before (a)
    #   3. stat('b'): ino as before (b)
    #   4. stat('c'): ino as before (c)
    #   5. stat('d'): ino as before (d)
    #   6. remount(): works
    #   7. stat('a'): ino as before (a)
    #   8. stat('b'): ino as before (b)
    #   9. stat('c'): ino as before (c)
    #   10. stat('d'): ino as before (d)
    options = 'lowerdir=one/l:two/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        os.mkdir('one')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'one'], check=True)
        os.mkdir('two')
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'two'], check=True)
        for name in ('one/l', 'two/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'one/l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.mkdir('c')
        os.chmod('c', 0o755)
        os.chdir(here)
        os.chdir(os.path.join(here, 'two/l'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.mkdir('d')
        os.chmod('d', 0o755)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("stat('c')", actor.stat(path='c'))
        except (OSError, KeyError) as error:
            print("stat('c')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("stat('a')", actor.stat(path='a'))
        except (OSError, KeyError) as error:
            print("stat('a')", repr(error))
        try:
            print("stat('b')", actor.stat(path='b'))
        except (OSError, KeyError) as error:
            print("stat('b')", repr(error))
        try:
            print("stat('c')", actor.stat(path='c'))
        except (OSError, KeyError) as error:
            print("stat('c')", repr(error))
        try:
            print("stat('d')", actor.stat(path='d'))
        except (OSError, KeyError) as error:
            print("stat('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt', 'one', 'two']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


PROBES = {
    'number-at-copy-up': number_at_copy_up,
    'number-of-file-over-remount': number_of_file_over_remount,
    'number-of-directory-over-remount': number_of_directory_over_remount,
    'number-of-changed-directory-over-remount': number_of_changed_directory_over_remount,
    'number-of-renamed-over-remount': number_of_renamed_over_remount,
    'number-of-symlink-over-remount': number_of_symlink_over_remount,
    'number-in-listing': number_in_listing,
    'two-disks-numbers-in-listing': two_disks_numbers_in_listing,
    'two-disks-one-device': two_disks_one_device,
    'two-disks-two-files': two_disks_two_files,
    'two-disks-number-at-copy-up': two_disks_number_at_copy_up,
    'two-disks-numbers-over-remount': two_disks_numbers_over_remount,
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


def open_flags(names: str) -> int:
    """ "RDWR|CREAT" as a number, always with O_CLOEXEC, and O_NONBLOCK since a fifo would wait."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    for name in names.split("|"):
        flags |= int(getattr(os, "O_" + name))
    return flags


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

    def fstat(self, fd: int) -> dict[str, Any]:
        return stat_result(os.fstat(self.fds[fd]))

    def stat(self, path: str) -> dict[str, Any]:
        return stat_result(os.lstat(path))

    def write_file(self, path: str, text: str, times: int, how: str) -> int:
        flags = {"truncate": os.O_TRUNC, "append": os.O_APPEND, "inside": 0}[how]
        number = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o666
        )
        try:
            return os.write(number, text.encode("latin-1") * times)
        finally:
            os.close(number)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def misnumbered(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if e.inode() != os.lstat(e.path).st_ino)

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
