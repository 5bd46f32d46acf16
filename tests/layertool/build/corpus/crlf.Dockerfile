FROM alpine
RUN echo a \
  b
RUN <<EOF
x
EOF
