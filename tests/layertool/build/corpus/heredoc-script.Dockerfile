FROM python:3.12
RUN <<EOF
set -e
pip install flask
echo "$HOME"
EOF
