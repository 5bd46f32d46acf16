FROM alpine
RUN apk add \

    git
