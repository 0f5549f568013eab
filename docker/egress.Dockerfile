# The image of the egress proxy (Squid) for sandboxes whose network is `internal`. The base must be Debian.
#
# The server builds it when it first needs it (sandbox_pool/backends/docker/image.py). ALLOWED_HOSTS has the allowed
# hosts, separated by spaces; a host that begins with a dot includes its subdomains.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends squid \
    && rm -rf /var/lib/apt/lists/*
COPY docker/egress.conf /etc/squid/codeact.conf
LABEL codeact.egress="1"
USER proxy
# Squid needs no disk: its caches are in memory, and the server mounts /tmp in memory.
ENTRYPOINT ["/bin/sh", "-c", "printf '%s\n' $ALLOWED_HOSTS > /tmp/codeact-allowed; exec squid -N -f /etc/squid/codeact.conf"]
