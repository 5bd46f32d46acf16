#
# Dockerfile for aria2
#

FROM alpine
MAINTAINER EasyPi Software Foundation

RUN set -xe \
    && apk add --no-cache aria2

COPY aria2.conf /etc/aria2/
ENV TOKEN=e6c3778f-6361-4ed0-b126-f2cf8fca06db

VOLUME /home/aria2
EXPOSE 6800 \
       6881
ENTRYPOINT ["aria2c"]
CMD ["--enable-rpc", \
     "--rpc-listen-all"]
