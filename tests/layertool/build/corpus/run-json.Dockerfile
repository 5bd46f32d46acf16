FROM alpine
RUN ["/bin/bash", "-c", "echo hello"]
RUN [ -f x ] || true
