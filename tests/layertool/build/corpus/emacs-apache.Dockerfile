FROM debian
RUN apt-get install -y emacs-nox
RUN apt-get install -y apache2
CMD ["bash"]
