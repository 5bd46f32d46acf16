FROM alpine
RUN --network=none make test
RUN --security=sandbox --network=host make
