FROM alpine
ENTRYPOINT exec top -b
ENTRYPOINT ["/init", "--"]
ENTRYPOINT []
ENTRYPOINT ["\u0041"]
