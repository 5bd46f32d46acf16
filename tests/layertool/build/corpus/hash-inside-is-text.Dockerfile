FROM alpine
RUN echo '#' a # b
  # indented comment
ENV A=b#c
