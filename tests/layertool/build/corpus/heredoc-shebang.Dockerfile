FROM python
RUN <<-EOT
	#!/usr/bin/env python3
	print("hi")
	EOT
