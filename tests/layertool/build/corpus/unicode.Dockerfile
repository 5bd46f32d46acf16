FROM alpine
LABEL größe="10 µm"
RUN echo 日本語
COPY ünï /ñ/
