FROM debian
COPY --from=busybox:musl /bin/busybox /bin/
