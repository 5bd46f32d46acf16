FROM alpine
COPY --chown="a b":c x /
RUN --mount=type=bind,source='a b',target=/x true
