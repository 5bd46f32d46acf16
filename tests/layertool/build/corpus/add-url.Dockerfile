FROM alpine
ADD https://example.com/a.tar.gz /tmp/
ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://example.com/f /f
ADD --unpack=true https://example.com/b.tar /b/
ADD --unpack=false c.tar /c/
