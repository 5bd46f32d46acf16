ARG BASE=debian:12
FROM ${BASE} AS common
FROM common AS dev
CMD ["bash"]
FROM scratch AS export
COPY --from=common /etc/os-release /
FROM common AS prod
COPY --from=dev /etc/passwd /p
