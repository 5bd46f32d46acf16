"""Images in registries: the OCI distribution protocol, its credentials and its failures.

From the network up: `wire` (one HTTP exchange), `auth` with `challenge` and `credentials`,
`client` (credentials, redirects, retries), `download` and `upload` (one blob), `pull` and `push`
(one image and the store), `remote` (a registry as a source or sink of images, without the store).
"""
