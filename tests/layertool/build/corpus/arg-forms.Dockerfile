FROM alpine
ARG A
ARG B=
ARG C="x y"
ARG D=1 E F='$A'
