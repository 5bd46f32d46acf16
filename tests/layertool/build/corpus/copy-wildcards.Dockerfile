FROM alpine
COPY hom* /dir/
COPY hom?.txt /dir/
COPY arr[[]0].txt /dir/
COPY $SRC ${DST:-/x}/
