FROM alpine
ENV A=${B:-c} D=${E:+f} G=${H##*/} I=${J%.*} K=${L//x/y} M='$N' O=\$P Q="${R}"
