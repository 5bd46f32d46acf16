FROM node
ONBUILD RUN <<EOF
npm ci
EOF
CMD ["node"]
