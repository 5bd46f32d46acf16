FROM alpine
RUN --mount=type=secret,id=aws,target=/root/.aws/credentials,required aws s3 cp x y
RUN --mount=type=secret,id=TOKEN,env=TOKEN curl x
RUN --mount=type=tmpfs,target=/tmp,size=64m make
