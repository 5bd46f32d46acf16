FROM bash
RUN cat <<< hello
RUN echo "<<EOF"
RUN echo $((1<<2))
