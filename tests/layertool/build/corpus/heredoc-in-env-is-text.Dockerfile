FROM alpine
ENV A=<<EOF
LABEL b=1
