FROM alpine
ENV A=1 B="two words" C='$A' D=a\ b
ENV E the rest of $A line
ENV F=
ENV PATH=/opt/bin:$PATH \
    G=h
