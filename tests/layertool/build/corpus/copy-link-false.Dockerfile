FROM alpine
COPY --link=false a /
COPY --link=TRUE a /
