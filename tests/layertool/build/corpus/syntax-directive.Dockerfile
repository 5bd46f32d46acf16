# syntax=docker/dockerfile:1.7

# a comment
FROM alpine
