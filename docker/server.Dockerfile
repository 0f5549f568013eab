# The image of the server, which runs `codeact` (docs/docker.md). The base must be Debian with Python 3.11 to 3.13 and venv.
#
#   make image        or, from the root of the checkout: docker build -f docker/server.Dockerfile -t codeact .
ARG BASE_IMAGE=python:3.12-slim

# ---- builds the page and the wheel; no other stage has Node.js ----
FROM ${BASE_IMAGE} AS wheel
# Every stage has this label, by which the server finds old layers (sandbox_pool/backends/docker/stale_images.py).
LABEL codeact.build="1"
# Only the stages that install packages have these arguments: an index's address may contain a password, which must not
# get into the history of the final image.
ARG PIP_INDEX_URL
ARG NPM_CONFIG_REGISTRY
COPY requirements/build.txt requirements/node.txt /build/requirements/
RUN python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --no-cache-dir --only-binary :all: --require-hashes \
       -r /build/requirements/build.txt -r /build/requirements/node.txt
COPY web /build/web
# Node.js should trust the same certificates as Python.
RUN NODE_EXTRA_CA_CERTS=$SSL_CERT_FILE /build/tools/bin/python /build/web/build.py
COPY LICENSE README.md hatch_build.py pyproject.toml /build/
COPY scripts/links.py /build/scripts/
COPY docker /build/docker
COPY codeact /build/codeact
COPY sandbox_pool /build/sandbox_pool
COPY server /build/server
COPY streamlit_app /build/streamlit_app
RUN cd /build && tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheel .

# ---- installs the dependencies, then the wheel in a layer of its own, so that an upgrade is small ----
FROM ${BASE_IMAGE} AS environment
LABEL codeact.build="1"
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements/uv.txt requirements/image.txt /build/
RUN python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --no-cache-dir --only-binary :all: --require-hashes -r /build/uv.txt \
    && python3 -m venv --without-pip /opt/codeact \
    && /build/tools/bin/uv pip install --quiet --no-cache --python /opt/codeact/bin/python --compile-bytecode \
       --only-binary :all: --require-hashes -r /build/image.txt \
    && echo /opt/app > "$(/opt/codeact/bin/python -c 'import site; print(site.getsitepackages()[0])')/app.pth"

FROM environment AS app
COPY --from=wheel /build/wheel /build/wheel
RUN /build/tools/bin/uv pip install --quiet --no-cache --python /opt/codeact/bin/python --compile-bytecode \
    --target /opt/app --no-deps --no-index /build/wheel/*.whl

# ---- the final image ----
FROM ${BASE_IMAGE}
LABEL codeact.build="1"
# The embedded mongod needs these libraries.
RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends libcurl4 libssl3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && echo 'codeact:x:10000:10000::/data:/bin/sh' >> /etc/passwd \
    && echo 'codeact:x:10000:' >> /etc/group \
    && install -d -m 700 -o 10000 -g 10000 /data
COPY --from=environment /opt/codeact /opt/codeact
COPY --from=app /opt/app /opt/app
# Inside of a container, sandboxes as local processes would not be isolated, so the server requires an engine.
ENV PATH=/opt/app/bin:/opt/codeact/bin:$PATH LANG=C.UTF-8 HOME=/data PYTHONUNBUFFERED=1 \
    CODEACT_HOST=0.0.0.0 CODEACT_DATA_DIR=/data CODEACT_SANDBOX=docker
WORKDIR /data
VOLUME /data
EXPOSE 8000
# This user differs from that of sandboxes. `--group-add` adds the group of the engine's socket.
USER 10000:10000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"CODEACT_PORT\", 8000)}/readyz')"]
ENTRYPOINT ["codeact"]
CMD ["serve"]
