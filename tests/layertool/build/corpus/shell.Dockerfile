FROM alpine
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN wget -O - https://x | wc -l
