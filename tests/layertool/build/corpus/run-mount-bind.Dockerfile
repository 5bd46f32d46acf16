FROM golang AS src
FROM golang
RUN --mount=target=. --mount=type=bind,from=src,source=/go,target=/mnt,rw go build
