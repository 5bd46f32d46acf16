FROM alpine
RUN cat <<A - <<B
one
A
two
B
USER nobody
