FROM nginx
COPY <<default.conf /etc/nginx/conf.d/
server { listen $PORT; }
default.conf
COPY <<"a" <<b plain /srv/
$A
a
b
