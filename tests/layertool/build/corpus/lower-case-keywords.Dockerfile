from alpine as one
run echo hi
cmd ["sh"]
