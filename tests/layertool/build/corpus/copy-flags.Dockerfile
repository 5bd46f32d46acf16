FROM alpine
COPY --chown=1000:1000 --chmod=0644 --link a b /dst/
COPY --chmod=u=rwX,go=rX --exclude=*.md --exclude=**/test . /app
COPY --parents src/./a/*.c src/b /dst/
