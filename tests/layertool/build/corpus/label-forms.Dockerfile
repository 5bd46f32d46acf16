FROM alpine
LABEL a=b "com.example.x"="y z" multi="one \
two"
LABEL old style label
MAINTAINER Jo <jo@example.com>
