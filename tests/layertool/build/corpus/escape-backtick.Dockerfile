# escape=`
FROM alpine
RUN echo a `
  C:\dir
COPY a` b.txt C:\x\
