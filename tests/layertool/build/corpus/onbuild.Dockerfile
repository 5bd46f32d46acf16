FROM node
ONBUILD COPY package.json .
ONBUILD RUN npm install
onbuild ENV A=b
