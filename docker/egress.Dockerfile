# The egress proxy of sandboxes whose network is `internal`: a Debian base enters, an image that runs Squid leaves.
#
# The server builds it when it is needed and missing (sandbox_pool/backends/docker/image.py). ALLOWED_HOSTS has the hosts,
# with spaces between them; one that begins with a dot stands for its subdomains too.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends squid \
    && rm -rf /var/lib/apt/lists/*
COPY docker/egress.conf /etc/squid/codeact.conf
LABEL codeact.egress="1"
USER proxy
# ipcache and store live in memory; /tmp is one that the server mounts.
ENTRYPOINT ["/bin/sh", "-c", "printf '%s\n' $ALLOWED_HOSTS > /tmp/codeact-allowed; exec squid -N -f /etc/squid/codeact.conf"]
