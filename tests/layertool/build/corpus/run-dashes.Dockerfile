FROM alpine
RUN -- --not-a-flag x
RUN echo --x
