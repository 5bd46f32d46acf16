FROM alpine
RUN set -x && \
    cat <<EOF
body \
EOF
