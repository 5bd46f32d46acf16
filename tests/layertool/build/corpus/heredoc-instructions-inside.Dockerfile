FROM alpine
RUN <<EOF
FROM nowhere
RUN echo <<EOF2
# kept
EOF
CMD ["sh"]
