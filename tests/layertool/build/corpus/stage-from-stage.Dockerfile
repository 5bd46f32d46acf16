FROM debian AS base
RUN apt-get update
FROM base AS dev
RUN apt-get install -y gdb
FROM base
CMD ["app"]
