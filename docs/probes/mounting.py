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


def mount_colon():
    # lowerdir=l\:c names the directory l:c
    # overlayfs.rst: colons can be escaped by a backslash
    #   1. mount -o lowerdir=l\:c,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 1:x
    options = 'lowerdir=l\\:c,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l:c', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l:c'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_comma():
    # lowerdir=l\,m names the directory l,m
    # mount options end at a comma that is not escaped
    #   1. mount -o lowerdir=l\,m,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 1:x
    options = 'lowerdir=l\\,m,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l,m', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l,m'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_backslash():
    # lowerdir=l\\b names the directory l\b
    # overlayfs.rst: a backslash escapes
    #   1. mount -o lowerdir=l\\b,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 1:x
    options = 'lowerdir=l\\\\b,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l\\b', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l\\b'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_bare_backslash():
    # lowerdir=l\b does not: the backslash only escapes, so the directory lb is meant
    # overlayfs.rst: a backslash escapes
    #   1. mount -o lowerdir=l\b,upperdir=upper,workdir=work: fails
    options = 'lowerdir=l\\b,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l\\b', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l\\b'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_relative():
    # layers named relative to the current directory
    # path_resolution(7); containers-storage does so to keep the options short
    #   1. mount -o lowerdir=d/l,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 1:x
    options = 'lowerdir=d/l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('d/l', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'd/l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_one_lower():
    # one lower layer without an upper is a read-only view of it
    # nothing in it is impossible
    #   1. mount -o lowerdir=l: works
    #   2. read_file('a'): 1:x
    #   3. create('n', 420): EROFS
    options = 'lowerdir=l'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("create('n', 420)", actor.create(path='n', mode=420))
        except (OSError, KeyError) as error:
            print("create('n', 420)", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_two_lowers():
    # two lower layers without an upper are a read-only view
    # overlayfs.rst, multiple lower layers
    #   1. mount -o lowerdir=l:m: works
    #   2. read_file('a'): 1:x
    #   3. read_file('b'): 1:y
    #   4. create('n', 420): EROFS
    options = 'lowerdir=l:m'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'm', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'm'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("read_file('b')", actor.read_file(path='b'))
        except (OSError, KeyError) as error:
            print("read_file('b')", repr(error))
        try:
            print("create('n', 420)", actor.create(path='n', mode=420))
        except (OSError, KeyError) as error:
            print("create('n', 420)", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_read_only():
    # ro with an upper shows the upper, read-only
    # mount(8), ro
    #   1. mount -o ro,lowerdir=l,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 1:x
    #   3. create('n', 420): EROFS
    options = 'ro,lowerdir=l,upperdir=upper,workdir=work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("create('n', 420)", actor.create(path='n', mode=420))
        except (OSError, KeyError) as error:
            print("create('n', 420)", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_without_work():
    # an upper without a work directory is refused
    # overlayfs.rst: the workdir needs to be an empty directory
    #   1. mount -o lowerdir=l,upperdir=upper: fails
    options = 'lowerdir=l,upperdir=upper'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_empty_lower():
    # an empty name at the end of lowerdir is refused
    # path_resolution(7): an empty pathname is not a directory
    #   1. mount -o lowerdir=l:,upperdir=upper,workdir=work: fails
    options = 'lowerdir=l:,upperdir=upper,workdir=work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_same_lower_twice():
    # one directory as two layers is refused
    # overlayfs.rst: ELOOP, overlapping layers are undefined
    #   1. mount -o lowerdir=l:l,upperdir=upper,workdir=work: fails
    options = 'lowerdir=l:l,upperdir=upper,workdir=work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_unknown_option():
    # an unknown option is refused
    # mount(2): EINVAL
    #   1. mount -o no_such_option=1,lowerdir=l,upperdir=upper,workdir=work: fails
    options = 'no_such_option=1,lowerdir=l,upperdir=upper,workdir=work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_work_inside_upper():
    # a work directory inside the upper is refused
    # overlayfs.rst: upper and work must be separate subtrees
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=upper/work: fails
    options = 'lowerdir=l,upperdir=upper,workdir=upper/work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_missing_lower():
    # a lower directory that does not exist is refused
    # mount(2): ENOENT
    #   1. mount -o lowerdir=l:missing,upperdir=upper,workdir=work: fails
    options = 'lowerdir=l:missing,upperdir=upper,workdir=work'
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_upper_in_use():
    # a second mount with the same upper is refused
    # overlayfs.rst: may result in undefined behavior
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work a second time: fails
    options = 'lowerdir=l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'upper', 'work', 'second', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        words = [word.format(options=options, mountpoint='second') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        for name in ['second', 'mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_stale_work():
    # what a crash left in the work directory is removed
    # overlayfs.rst: the workdir is prepared for use
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work: works
    #   2. raw_upper('../work/work/#1'): nothing there
    #   3. read_file('a'): 1:x
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
        os.chdir(os.path.join(here, 'work'))
        os.mkdir('work')
        os.chmod('work', 0o755)
        with open('work/#1', "wb") as f: f.write('litter'.encode("latin-1"))
        os.chmod('work/#1', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        raw = os.path.join(os.path.dirname(point), "upper", '../work/work/#1')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_500_lowers():
    # 500 lower layers
    # nothing in the format limits them
    #   1. mount -o lowerdir=1:2:3:4:5:6:7:8:9:10:11:12:13:1...:498:499:500,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 5:first
    #   3. read_file('z'): 4:last
    options = 'lowerdir=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25:26:27:28:29:30:31:32:33:34:35:36:37:38:39:40:41:42:43:44:45:46:47:48:49:50:51:52:53:54:55:56:57:58:59:60:61:62:63:64:65:66:67:68:69:70:71:72:73:74:75:76:77:78:79:80:81:82:83:84:85:86:87:88:89:90:91:92:93:94:95:96:97:98:99:100:101:102:103:104:105:106:107:108:109:110:111:112:113:114:115:116:117:118:119:120:121:122:123:124:125:126:127:128:129:130:131:132:133:134:135:136:137:138:139:140:141:142:143:144:145:146:147:148:149:150:151:152:153:154:155:156:157:158:159:160:161:162:163:164:165:166:167:168:169:170:171:172:173:174:175:176:177:178:179:180:181:182:183:184:185:186:187:188:189:190:191:192:193:194:195:196:197:198:199:200:201:202:203:204:205:206:207:208:209:210:211:212:213:214:215:216:217:218:219:220:221:222:223:224:225:226:227:228:229:230:231:232:233:234:235:236:237:238:239:240:241:242:243:244:245:246:247:248:249:250:251:252:253:254:255:256:257:258:259:260:261:262:263:264:265:266:267:268:269:270:271:272:273:274:275:276:277:278:279:280:281:282:283:284:285:286:287:288:289:290:291:292:293:294:295:296:297:298:299:300:301:302:303:304:305:306:307:308:309:310:311:312:313:314:315:316:317:318:319:320:321:322:323:324:325:326:327:328:329:330:331:332:333:334:335:336:337:338:339:340:341:342:343:344:345:346:347:348:349:350:351:352:353:354:355:356:357:358:359:360:361:362:363:364:365:366:367:368:369:370:371:372:373:374:375:376:377:378:379:380:381:382:383:384:385:386:387:388:389:390:391:392:393:394:395:396:397:398:399:400:401:402:403:404:405:406:407:408:409:410:411:412:413:414:415:416:417:418:419:420:421:422:423:424:425:426:427:428:429:430:431:432:433:434:435:436:437:438:439:440:441:442:443:444:445:446:447:448:449:450:451:452:453:454:455:456:457:458:459:460:461:462:463:464:465:466:467:468:469:470:471:472:473:474:475:476:477:478:479:480:481:482:483:484:485:486:487:488:489:490:491:492:493:494:495:496:497:498:499:500,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29', '30', '31', '32', '33', '34', '35', '36', '37', '38', '39', '40', '41', '42', '43', '44', '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59', '60', '61', '62', '63', '64', '65', '66', '67', '68', '69', '70', '71', '72', '73', '74', '75', '76', '77', '78', '79', '80', '81', '82', '83', '84', '85', '86', '87', '88', '89', '90', '91', '92', '93', '94', '95', '96', '97', '98', '99', '100', '101', '102', '103', '104', '105', '106', '107', '108', '109', '110', '111', '112', '113', '114', '115', '116', '117', '118', '119', '120', '121', '122', '123', '124', '125', '126', '127', '128', '129', '130', '131', '132', '133', '134', '135', '136', '137', '138', '139', '140', '141', '142', '143', '144', '145', '146', '147', '148', '149', '150', '151', '152', '153', '154', '155', '156', '157', '158', '159', '160', '161', '162', '163', '164', '165', '166', '167', '168', '169', '170', '171', '172', '173', '174', '175', '176', '177', '178', '179', '180', '181', '182', '183', '184', '185', '186', '187', '188', '189', '190', '191', '192', '193', '194', '195', '196', '197', '198', '199', '200', '201', '202', '203', '204', '205', '206', '207', '208', '209', '210', '211', '212', '213', '214', '215', '216', '217', '218', '219', '220', '221', '222', '223', '224', '225', '226', '227', '228', '229', '230', '231', '232', '233', '234', '235', '236', '237', '238', '239', '240', '241', '242', '243', '244', '245', '246', '247', '248', '249', '250', '251', '252', '253', '254', '255', '256', '257', '258', '259', '260', '261', '262', '263', '264', '265', '266', '267', '268', '269', '270', '271', '272', '273', '274', '275', '276', '277', '278', '279', '280', '281', '282', '283', '284', '285', '286', '287', '288', '289', '290', '291', '292', '293', '294', '295', '296', '297', '298', '299', '300', '301', '302', '303', '304', '305', '306', '307', '308', '309', '310', '311', '312', '313', '314', '315', '316', '317', '318', '319', '320', '321', '322', '323', '324', '325', '326', '327', '328', '329', '330', '331', '332', '333', '334', '335', '336', '337', '338', '339', '340', '341', '342', '343', '344', '345', '346', '347', '348', '349', '350', '351', '352', '353', '354', '355', '356', '357', '358', '359', '360', '361', '362', '363', '364', '365', '366', '367', '368', '369', '370', '371', '372', '373', '374', '375', '376', '377', '378', '379', '380', '381', '382', '383', '384', '385', '386', '387', '388', '389', '390', '391', '392', '393', '394', '395', '396', '397', '398', '399', '400', '401', '402', '403', '404', '405', '406', '407', '408', '409', '410', '411', '412', '413', '414', '415', '416', '417', '418', '419', '420', '421', '422', '423', '424', '425', '426', '427', '428', '429', '430', '431', '432', '433', '434', '435', '436', '437', '438', '439', '440', '441', '442', '443', '444', '445', '446', '447', '448', '449', '450', '451', '452', '453', '454', '455', '456', '457', '458', '459', '460', '461', '462', '463', '464', '465', '466', '467', '468', '469', '470', '471', '472', '473', '474', '475', '476', '477', '478', '479', '480', '481', '482', '483', '484', '485', '486', '487', '488', '489', '490', '491', '492', '493', '494', '495', '496', '497', '498', '499', '500', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, '1'))
        with open('a', "wb") as f: f.write('first'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, '500'))
        with open('z', "wb") as f: f.write('last'.encode("latin-1"))
        os.chmod('z', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("read_file('z')", actor.read_file(path='z'))
        except (OSError, KeyError) as error:
            print("read_file('z')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_501_lowers():
    # 501 lower layers
    # nothing in the format limits them
    #   1. mount -o lowerdir=1:2:3:4:5:6:7:8:9:10:11:12:13:1...:499:500:501,upperdir=upper,workdir=work: works
    #   2. read_file('a'): 5:first
    #   3. read_file('z'): 4:last
    options = 'lowerdir=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25:26:27:28:29:30:31:32:33:34:35:36:37:38:39:40:41:42:43:44:45:46:47:48:49:50:51:52:53:54:55:56:57:58:59:60:61:62:63:64:65:66:67:68:69:70:71:72:73:74:75:76:77:78:79:80:81:82:83:84:85:86:87:88:89:90:91:92:93:94:95:96:97:98:99:100:101:102:103:104:105:106:107:108:109:110:111:112:113:114:115:116:117:118:119:120:121:122:123:124:125:126:127:128:129:130:131:132:133:134:135:136:137:138:139:140:141:142:143:144:145:146:147:148:149:150:151:152:153:154:155:156:157:158:159:160:161:162:163:164:165:166:167:168:169:170:171:172:173:174:175:176:177:178:179:180:181:182:183:184:185:186:187:188:189:190:191:192:193:194:195:196:197:198:199:200:201:202:203:204:205:206:207:208:209:210:211:212:213:214:215:216:217:218:219:220:221:222:223:224:225:226:227:228:229:230:231:232:233:234:235:236:237:238:239:240:241:242:243:244:245:246:247:248:249:250:251:252:253:254:255:256:257:258:259:260:261:262:263:264:265:266:267:268:269:270:271:272:273:274:275:276:277:278:279:280:281:282:283:284:285:286:287:288:289:290:291:292:293:294:295:296:297:298:299:300:301:302:303:304:305:306:307:308:309:310:311:312:313:314:315:316:317:318:319:320:321:322:323:324:325:326:327:328:329:330:331:332:333:334:335:336:337:338:339:340:341:342:343:344:345:346:347:348:349:350:351:352:353:354:355:356:357:358:359:360:361:362:363:364:365:366:367:368:369:370:371:372:373:374:375:376:377:378:379:380:381:382:383:384:385:386:387:388:389:390:391:392:393:394:395:396:397:398:399:400:401:402:403:404:405:406:407:408:409:410:411:412:413:414:415:416:417:418:419:420:421:422:423:424:425:426:427:428:429:430:431:432:433:434:435:436:437:438:439:440:441:442:443:444:445:446:447:448:449:450:451:452:453:454:455:456:457:458:459:460:461:462:463:464:465:466:467:468:469:470:471:472:473:474:475:476:477:478:479:480:481:482:483:484:485:486:487:488:489:490:491:492:493:494:495:496:497:498:499:500:501,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29', '30', '31', '32', '33', '34', '35', '36', '37', '38', '39', '40', '41', '42', '43', '44', '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59', '60', '61', '62', '63', '64', '65', '66', '67', '68', '69', '70', '71', '72', '73', '74', '75', '76', '77', '78', '79', '80', '81', '82', '83', '84', '85', '86', '87', '88', '89', '90', '91', '92', '93', '94', '95', '96', '97', '98', '99', '100', '101', '102', '103', '104', '105', '106', '107', '108', '109', '110', '111', '112', '113', '114', '115', '116', '117', '118', '119', '120', '121', '122', '123', '124', '125', '126', '127', '128', '129', '130', '131', '132', '133', '134', '135', '136', '137', '138', '139', '140', '141', '142', '143', '144', '145', '146', '147', '148', '149', '150', '151', '152', '153', '154', '155', '156', '157', '158', '159', '160', '161', '162', '163', '164', '165', '166', '167', '168', '169', '170', '171', '172', '173', '174', '175', '176', '177', '178', '179', '180', '181', '182', '183', '184', '185', '186', '187', '188', '189', '190', '191', '192', '193', '194', '195', '196', '197', '198', '199', '200', '201', '202', '203', '204', '205', '206', '207', '208', '209', '210', '211', '212', '213', '214', '215', '216', '217', '218', '219', '220', '221', '222', '223', '224', '225', '226', '227', '228', '229', '230', '231', '232', '233', '234', '235', '236', '237', '238', '239', '240', '241', '242', '243', '244', '245', '246', '247', '248', '249', '250', '251', '252', '253', '254', '255', '256', '257', '258', '259', '260', '261', '262', '263', '264', '265', '266', '267', '268', '269', '270', '271', '272', '273', '274', '275', '276', '277', '278', '279', '280', '281', '282', '283', '284', '285', '286', '287', '288', '289', '290', '291', '292', '293', '294', '295', '296', '297', '298', '299', '300', '301', '302', '303', '304', '305', '306', '307', '308', '309', '310', '311', '312', '313', '314', '315', '316', '317', '318', '319', '320', '321', '322', '323', '324', '325', '326', '327', '328', '329', '330', '331', '332', '333', '334', '335', '336', '337', '338', '339', '340', '341', '342', '343', '344', '345', '346', '347', '348', '349', '350', '351', '352', '353', '354', '355', '356', '357', '358', '359', '360', '361', '362', '363', '364', '365', '366', '367', '368', '369', '370', '371', '372', '373', '374', '375', '376', '377', '378', '379', '380', '381', '382', '383', '384', '385', '386', '387', '388', '389', '390', '391', '392', '393', '394', '395', '396', '397', '398', '399', '400', '401', '402', '403', '404', '405', '406', '407', '408', '409', '410', '411', '412', '413', '414', '415', '416', '417', '418', '419', '420', '421', '422', '423', '424', '425', '426', '427', '428', '429', '430', '431', '432', '433', '434', '435', '436', '437', '438', '439', '440', '441', '442', '443', '444', '445', '446', '447', '448', '449', '450', '451', '452', '453', '454', '455', '456', '457', '458', '459', '460', '461', '462', '463', '464', '465', '466', '467', '468', '469', '470', '471', '472', '473', '474', '475', '476', '477', '478', '479', '480', '481', '482', '483', '484', '485', '486', '487', '488', '489', '490', '491', '492', '493', '494', '495', '496', '497', '498', '499', '500', '501', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, '1'))
        with open('a', "wb") as f: f.write('first'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, '501'))
        with open('z', "wb") as f: f.write('last'.encode("latin-1"))
        os.chmod('z', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("read_file('z')", actor.read_file(path='z'))
        except (OSError, KeyError) as error:
            print("read_file('z')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_redirect_in_lower():
    # a redirect in a layer is followed
    # overlayfs.rst, redirect_dir; the layer was made by a rename
    #   1. mount -o lowerdir=l:m,upperdir=upper,workdir=work: works
    #   2. list_dir('new'): ["a file", "b file"]
    #   3. read_file('new/a'): 1:x
    options = 'lowerdir=l:m,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'm', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        os.mkdir('new')
        os.chmod('new', 0o755)
        os.setxattr('new', 'trusted.overlay.redirect', 'old'.encode())
        with open('new/b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('new/b', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'm'))
        os.mkdir('old')
        os.chmod('old', 0o755)
        with open('old/a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('old/a', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("list_dir('new')", actor.list_dir(path='new'))
        except (OSError, KeyError) as error:
            print("list_dir('new')", repr(error))
        try:
            print("read_file('new/a')", actor.read_file(path='new/a'))
        except (OSError, KeyError) as error:
            print("read_file('new/a')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_data_only_lower():
    # a data-only layer gives content to a metacopy file and no names
    # overlayfs.rst, data-only lower layers
    #   1. mount -o lowerdir=l::data,upperdir=upper,workdir=work: works
    #   2. read_file('meta'): 4:data
    #   3. list_dir('.'): ["meta file"]
    options = 'lowerdir=l::data,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'data', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('meta', "wb") as f: f.write(''.encode("latin-1")); f.truncate(4)
        os.chmod('meta', 0o644)
        os.setxattr('meta', 'trusted.overlay.metacopy', ''.encode())
        os.setxattr('meta', 'trusted.overlay.redirect', '/blob'.encode())
        os.chdir(here)
        os.chdir(os.path.join(here, 'data'))
        with open('blob', "wb") as f: f.write('data'.encode("latin-1"))
        os.chmod('blob', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('meta')", actor.read_file(path='meta'))
        except (OSError, KeyError) as error:
            print("read_file('meta')", repr(error))
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_metacopy_without_data():
    # a metacopy file whose data is nowhere is never read as zeros
    # overlayfs.rst, metadata only copy up
    #   1. mount -o lowerdir=l:m,upperdir=upper,workdir=work: works
    #   2. read_file('meta'): EIO or EPERM or ENOENT or ENODATA
    options = 'lowerdir=l:m,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'm', 'upper', 'work', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('meta', "wb") as f: f.write(''.encode("latin-1")); f.truncate(4)
        os.chmod('meta', 0o644)
        os.setxattr('meta', 'trusted.overlay.metacopy', ''.encode())
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        os.chdir(here)
        os.chdir(os.path.join(here, 'm'))
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('meta')", actor.read_file(path='meta'))
        except (OSError, KeyError) as error:
            print("read_file('meta')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_below_another():
    # kernel overlayfs can have its upper in the mount
    # overlayfs.rst: an upper needs xattrs, d_type, whiteouts and RENAME_WHITEOUT
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work: works
    #   2. kernel overlayfs with its upper in it: works
    #   3. write_file('a', 'z', 1, 'append'): works
    #   4. read_file('a'): 2:xz
    #   5. rename('b', 'c', ''): works
    #   6. remove_tree('d'): works
    #   7. mkdir('d', 493): works
    #   8. list_dir('.'): ["a file", "c file", "d dir"]
    #   9. list_dir('d'): []
    #   10. remount(): works
    #   11. read_file('a'): 2:xz
    #   12. list_dir('.'): ["a file", "c file", "d dir"]
    #   13. list_dir('d'): []
    options = 'lowerdir=l,upperdir=upper,workdir=work'
    for side, command in COMMANDS.items():
        print("==", side)
        if "{branches}" in command:
            continue  # its command line is another
        here = os.path.join(BASE, side)
        os.mkdir(here)
        os.chdir(here)
        for name in ('l', 'upper', 'work', 'top', 'mnt'):
            os.makedirs(name)
        os.chdir(os.path.join(here, 'l'))
        with open('a', "wb") as f: f.write('x'.encode("latin-1"))
        os.chmod('a', 0o644)
        with open('b', "wb") as f: f.write('y'.encode("latin-1"))
        os.chmod('b', 0o644)
        os.mkdir('d')
        os.chmod('d', 0o755)
        with open('d/old', "wb") as f: f.write(''.encode("latin-1"))
        os.chmod('d/old', 0o644)
        os.chdir(here)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        os.makedirs('mnt/u', exist_ok=True)
        os.makedirs('mnt/w', exist_ok=True)
        words = ['mount', '-t', 'overlay', 'overlay', '-o', 'lowerdir=l,upperdir=mnt/u,workdir=mnt/w', 'top']
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'top')
        os.chdir(point)
        actor = Actor()
        try:
            print("write_file('a', 'z', 1, 'append')", actor.write_file(path='a', text='z', times=1, how='append'))
        except (OSError, KeyError) as error:
            print("write_file('a', 'z', 1, 'append')", repr(error))
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("rename('b', 'c', '')", actor.rename(source='b', target='c', flags=''))
        except (OSError, KeyError) as error:
            print("rename('b', 'c', '')", repr(error))
        try:
            print("remove_tree('d')", actor.remove_tree(path='d'))
        except (OSError, KeyError) as error:
            print("remove_tree('d')", repr(error))
        try:
            print("mkdir('d', 493)", actor.mkdir(path='d', mode=493))
        except (OSError, KeyError) as error:
            print("mkdir('d', 493)", repr(error))
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['top', 'mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        os.makedirs('mnt/u', exist_ok=True)
        os.makedirs('mnt/w', exist_ok=True)
        words = ['mount', '-t', 'overlay', 'overlay', '-o', 'lowerdir=l,upperdir=mnt/u,workdir=mnt/w', 'top']
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'top')
        os.chdir(point)
        actor = Actor()
        try:
            print("read_file('a')", actor.read_file(path='a'))
        except (OSError, KeyError) as error:
            print("read_file('a')", repr(error))
        try:
            print("list_dir('.')", actor.list_dir(path='.'))
        except (OSError, KeyError) as error:
            print("list_dir('.')", repr(error))
        try:
            print("list_dir('d')", actor.list_dir(path='d'))
        except (OSError, KeyError) as error:
            print("list_dir('d')", repr(error))
        leave(actor)
        os.chdir(here)
        for name in ['top', 'mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


def mount_shows_later_writes():
    # what is written lies in the upper as an ordinary file, for tools that read it there
    # overlayfs.rst: the upper is a normal directory
    #   1. mount -o lowerdir=l,upperdir=upper,workdir=work: works
    #   2. write_file('n', 'new', 1, 'truncate'): works
    #   3. stat('n'): size 3
    #   4. raw_upper('n'): type file, size 3
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
        words = [word.format(options=options, mountpoint='mnt') for word in command]
        print(words, 'answers with status', subprocess.run(words).returncode)
        point = os.path.join(here, 'mnt')
        os.chdir(point)
        actor = Actor()
        try:
            print("write_file('n', 'new', 1, 'truncate')", actor.write_file(path='n', text='new', times=1, how='truncate'))
        except (OSError, KeyError) as error:
            print("write_file('n', 'new', 1, 'truncate')", repr(error))
        try:
            print("stat('n')", actor.stat(path='n'))
        except (OSError, KeyError) as error:
            print("stat('n')", repr(error))
        raw = os.path.join(os.path.dirname(point), "upper", 'n')
        print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)
        leave(actor)
        os.chdir(here)
        for name in ['mnt']:
            if os.path.ismount(name):
                subprocess.run(['umount', '--lazy', name], check=True)
        os.chdir("/")


PROBES = {
    'mount-colon': mount_colon,
    'mount-comma': mount_comma,
    'mount-backslash': mount_backslash,
    'mount-bare-backslash': mount_bare_backslash,
    'mount-relative': mount_relative,
    'mount-one-lower': mount_one_lower,
    'mount-two-lowers': mount_two_lowers,
    'mount-read-only': mount_read_only,
    'mount-without-work': mount_without_work,
    'mount-empty-lower': mount_empty_lower,
    'mount-same-lower-twice': mount_same_lower_twice,
    'mount-unknown-option': mount_unknown_option,
    'mount-work-inside-upper': mount_work_inside_upper,
    'mount-missing-lower': mount_missing_lower,
    'mount-upper-in-use': mount_upper_in_use,
    'mount-stale-work': mount_stale_work,
    'mount-500-lowers': mount_500_lowers,
    'mount-501-lowers': mount_501_lowers,
    'mount-redirect-in-lower': mount_redirect_in_lower,
    'mount-data-only-lower': mount_data_only_lower,
    'mount-metacopy-without-data': mount_metacopy_without_data,
    'mount-below-another': mount_below_another,
    'mount-shows-later-writes': mount_shows_later_writes,
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

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

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
