FROM alpine
CMD echo hi
CMD ["a","b c"]
CMD [ "x" , "y" ]
CMD []
CMD ['single', 'quotes']
