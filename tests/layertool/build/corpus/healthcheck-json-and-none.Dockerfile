FROM nginx
HEALTHCHECK CMD ["/check"]
healthcheck none
