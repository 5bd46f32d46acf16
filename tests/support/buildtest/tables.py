"""Behaviour tables: what follows `FROM base`, and fails to build when layertool is wrong."""

from __future__ import annotations

import subprocess

from buildtest import Bench


def check(condition: str) -> str:
    """A RUN that fails unless a shell condition holds, and then shows the files."""
    return f"RUN {condition} || {{ ls -lR / 2>/dev/null | head -50; exit 1; }}\n"


COPIES = {
    "file to directory": "COPY a /d/\n" + check('[ "$(cat /d/a)" = a ]'),
    "file to name": "COPY a /d\n" + check("[ -f /d ]"),
    "directory contents": "COPY s /d\n" + check("[ -f /d/one ] && [ ! -e /d/s ]"),
    "everything but the ignored": "COPY . /all\n"
    + check("[ -f /all/s/one ] && [ ! -e /all/notes.md ] && [ -e /all/keep.md ]"),
    "root owns the context": "COPY a /\n" + check('[ "$(stat -c %u:%g /a)" = 0:0 ]'),
    "modes are kept": "COPY script /\n" + check('[ "$(stat -c %a /script)" = 750 ]'),
    "chmod octal": "COPY --chmod=4711 a /\n" + check('[ "$(stat -c %a /a)" = 4711 ]'),
    "chmod symbolic": "COPY --chmod=u=rwX,go=rX script s/one /m/\n"
    + check('[ "$(stat -c %a /m/script)$(stat -c %a /m/one)" = 755644 ]'),
    "chown by name": "COPY --chown=app:extra a /\n"
    + check('[ "$(stat -c %u:%g /a)" = 1000:2000 ]'),
    "chown by number": "COPY --chown=7 a /x/\n"
    + check('[ "$(stat -c %u:%g /x/a)$(stat -c %u /x)" = 7:77 ]'),
    "chown from an argument": "ARG WHO=app\nCOPY --chown=$WHO a /\n"
    + check('[ "$(stat -c %u /a)" = 1000 ]'),
    "user does not own copies": "USER app\nCOPY a /\n" + check('[ "$(stat -c %u /a)" = 0 ]'),
    "relative to workdir": "WORKDIR /w/x\nCOPY a ../y\n" + check("[ -f /w/y ]"),
    "wildcards": "COPY *.txt /t/\n" + check('[ "$(ls /t | wc -l)" = 2 ]'),
    "wildcard without match": "COPY a *.none /t/\n" + check('[ "$(ls /t)" = a ]'),
    "parents": "COPY --parents s/./deep/* s/one /p/\n"
    + check("[ -f /p/deep/two ] && [ -f /p/s/one ]"),
    "exclude": "COPY --exclude=deep --exclude=*.txt s /e\n"
    + check("[ -f /e/one ] && [ ! -e /e/deep ]"),
    "link": "COPY --link a /l/\n" + check('[ "$(cat /l/a)" = a ]'),
    "heredocs": "ARG V=v\nCOPY <<one <<'two' /h/\n$V\none\n$V\ntwo\n"
    + check('[ "$(cat /h/one /h/two | tr -d "\\n")" = \'v$V\' ]'),
    "heredoc beside a stage's file": "COPY --from=base /etc/passwd <<one /h/\n1\none\n"
    + check('[ -f /h/passwd ] && [ "$(cat /h/one)" = 1 ]'),
    "json form": 'COPY ["with space", "/j/"]\n' + check("[ -f '/j/with space' ]"),
    "through a link in the image": "RUN mkdir /real && ln -s real /link\nCOPY a /link/\n"
    + check("[ -f /real/a ] && [ -L /link ]"),
    "a link leading out stays in": "RUN mkdir -p /tmp/out && ln -s ../../../tmp/out /out\nCOPY a /out/\n"
    + check("[ -f /tmp/out/a ]"),
    "symlink in a directory is kept": "COPY links /k\n"
    + check('[ "$(readlink /k/rel)" = target ]'),
    "symlink as a source is followed": "COPY links/rel /f\n" + check("[ -f /f ] && [ ! -L /f ]"),
    "from a stage by name, owner kept": "RUN mkdir /o && touch /o/f && chown 5:6 /o/f\n"
    "FROM base\nCOPY --from=0 /o /o\n" + check('[ "$(stat -c %u:%g /o/f)" = 5:6 ]'),
    "a link in a stage stays in the stage": "RUN ln -s / /evil && echo mine > /mark\n"
    "FROM base\nCOPY --from=0 /evil/mark /evil /got/\n"
    + check("[ -f /got/mark ] && [ -f /got/bin/busybox ]"),
    "a fifo in a stage": "RUN mkfifo /fifo\nFROM base\nCOPY --from=0 /fifo /f\n"
    + check("[ -p /f ]"),
    "a hard link in a stage": "RUN mkdir /h && echo x > /h/a && ln /h/a /h/b\n"
    "FROM base\nCOPY --from=0 /h /h\n" + check("[ /h/a -ef /h/b ]"),
    "set-id bits in a stage": "RUN echo x > /x && chmod 6755 /x\nFROM base\n"
    "COPY --from=0 /x /x\n" + check('[ "$(stat -c %a /x)" = 6755 ]'),
    "from an image": "COPY --from=base /etc/passwd /p\n" + check("grep -q app /p"),
    "add unpacks a tar": "ADD t.tar.gz /u/\n" + check("[ -f /u/in/file ]"),
    "add keeps a tar": "ADD --unpack=false t.tar.gz /u/\n" + check("[ -f /u/t.tar.gz ]"),
    "copy keeps a tar": "COPY t.tar.gz /u/\n" + check("[ -f /u/t.tar.gz ]"),
    "add of a plain file": "ADD a /u/\n" + check("[ -f /u/a ]"),
    "add with owner": "ADD --chown=app t.tar.gz /u/\n"
    + check('[ "$(stat -c %u /u/in/file)" = 1000 ]'),
}

RUNS = {
    "shell form": "RUN echo a && echo b > /x\n" + check('[ "$(cat /x)" = b ]'),
    "json form": 'RUN ["touch", "/a b"]\n' + check("[ -f '/a b' ]"),
    "shell": 'SHELL ["/bin/sh", "-ec"]\nRUN false || true; touch /x\n' + check("[ -f /x ]"),
    "heredoc": "RUN <<EOF\nset -e\nV=1\necho $V > /x\nEOF\n" + check('[ "$(cat /x)" = 1 ]'),
    "heredoc as a program": "RUN <<EOF\n#!/bin/awk -f\nBEGIN { exit 0 }\nEOF\n",
    "heredoc on stdin": "RUN cat > /x <<-EOF\n\tone\nEOF\n" + check('[ "$(cat /x)" = one ]'),
    "env and arg": "ARG A=a\nENV E=e\n" + check('[ "$A$E" = ae ]'),
    "env beats arg": "ENV E=env\nARG E=arg\n" + check('[ "$E" = env ]'),
    "workdir": "WORKDIR /w\nWORKDIR x\n" + check('[ "$PWD" = /w/x ]'),
    "workdir of a user": "USER app\nWORKDIR /w\n" + check("touch x"),
    "user": "USER app\n" + check('[ "$(id -u):$(id -g)" = 1000:1000 ] && [ "$HOME" = /home/app ]'),
    "user and group": "USER 5:6\n" + check('[ "$(id -u):$(id -g)" = 5:6 ]'),
    "stdin is empty": check('[ -z "$(cat)" ]'),
    "no network": "RUN --network=none " + '[ "$(grep -c : /proc/net/dev)" = 1 ]\n',
    "deleting": "RUN touch /gone\nRUN rm /gone\n" + check("[ ! -e /gone ]"),
    "replacing a directory": "RUN mkdir -p /d/a\nRUN rm -r /d && mkdir /d && touch /d/b\n"
    + check('[ "$(ls /d)" = b ]'),
    "volume keeps changes": "VOLUME /v\nRUN mkdir -p /v && touch /v/x\n" + check("[ -f /v/x ]"),
    "mount of the context": "RUN --mount=target=/c [ -f /c/a ] && [ ! -e /c/notes.md ]\n"
    + check("[ ! -e /c ]"),
    "mount is read-only": "RUN --mount=target=/c ! touch /c/x 2>/dev/null\n",
    "mount rw is thrown away": "RUN --mount=target=/c,rw touch /c/new && [ -f /c/new ]\n"
    "RUN --mount=target=/c [ ! -e /c/new ]\n",
    "mount on the workdir": "WORKDIR /w\nRUN --mount=type=bind,z [ -f a ]\n" + check("[ ! -e a ]"),
    "mount of a file": "RUN --mount=source=a,target=/f grep -q a /f\n",
    "mount of a stage": "RUN echo s > /made\nFROM base\n"
    "RUN --mount=from=0,source=/made,target=/m grep -q s /m\n",
    "mount of an image": "RUN --mount=from=base,target=/m [ -f /m/etc/passwd ]\n",
    "mount source link stays inside": "RUN ln -s / /evil\nFROM base\n"
    "RUN --mount=from=0,source=/evil,target=/m [ -f /m/etc/passwd ] && [ -L /m/evil ]\n",
    "cache keeps": "RUN --mount=type=cache,id=keeps,target=/c echo 1 >> /c/n\n"
    "RUN --mount=type=cache,id=keeps,target=/k [ -s /k/n ]\n" + check("[ ! -e /c ]"),
    "cache of odd ids": "RUN --mount=type=cache,id=../../../etc,target=/c touch /c/x\n"
    + check("[ ! -e /c/x ]"),
    "cache attributes": "RUN --mount=type=cache,id=at,target=/c,uid=5,gid=6,mode=0700 "
    + '[ "$(stat -c %u:%g:%a /c)" = 5:6:700 ]\n',
    "tmpfs": "RUN --mount=type=tmpfs,target=/t touch /t/x && grep -q ' /t tmpfs' /proc/mounts\n"
    + check("[ ! -e /t/x ]"),
    "missing optional secret": "RUN --mount=type=secret,id=none [ ! -e /run/secrets/none ]\n",
    "onbuild is recorded": "ONBUILD RUN false\n" + check("true"),
}


def furnish(bench: Bench) -> None:
    """The context that the tables are about."""
    for name in ("a", "one.txt", "two.txt", "s/one", "s/deep/two", "with space", "links/target"):
        bench.write(name, name.rpartition("/")[2])
    for name in ("notes.md", "keep.md"):
        bench.write(name, name)
    bench.write("script", "#!/bin/sh\n", 0o750)
    bench.write(".dockerignore", "*.md\n!keep.md\n")
    (bench.context / "links/rel").symlink_to("target")
    inside = bench.context / "in"
    inside.mkdir()
    (inside / "file").write_text("file")
    subprocess.run(["tar", "-czf", "t.tar.gz", "in"], cwd=bench.context, check=True, timeout=30)
    for path in bench.context.rglob("*"):
        bench.give(path)
