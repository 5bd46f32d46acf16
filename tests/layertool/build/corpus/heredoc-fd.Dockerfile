FROM alpine
RUN cat <&3 3<<EOF
x
EOF
