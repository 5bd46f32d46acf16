FROM alpine
RUN apk add \
    # the compiler
    gcc \
# and its library, at column 0 \
    musl-dev
