FROM alpine
COPY ["a file", "another one", "/my dir/"]
ADD ["x y.tar", "/"]
