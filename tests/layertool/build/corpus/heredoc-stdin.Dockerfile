FROM alpine
RUN cat > /etc/motd <<'MOTD' && chmod 600 /etc/motd
$not expanded
MOTD
