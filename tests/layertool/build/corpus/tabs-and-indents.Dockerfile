	FROM	alpine
		RUN	echo	hi
   ENV	a=b
