# The image of a sandbox: any base with Python 3.12+ and venv enters, an image whose entrypoint is a kernel leaves.
#
# The server builds it when it is missing (sandbox_pool/backends/docker/image.py). By hand, from the root of the checkout:
#   tar -c docker sandbox_pool/guest/kernel_*.py | docker build -f docker/sandbox.Dockerfile -t my-sandbox -
# With --build-arg REQUIREMENTS=sandbox-minimal-requirements it has numpy, pandas and matplotlib alone.
# Then `FROM my-sandbox`, `USER root`, `RUN pip install …`, `USER sandbox` makes one with more packages;
# CODEACT_SANDBOX_IMAGE names it.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
# What it has installed: sandbox-requirements, or sandbox-minimal-requirements.
ARG REQUIREMENTS=sandbox-requirements
# First, so that what is left of a build that fails is known for ours (sandbox_pool/backends/docker/stale_images.py).
LABEL codeact.build="1"

COPY docker/${REQUIREMENTS}.txt /opt/kernel/requirements.txt
COPY docker/sandbox_fonts.py /opt/kernel/
# The root is read-only at run time, so what Python would cache then is made now: bytecode, also of a
# standard library that came without, and the font list of matplotlib.
RUN python3 -m venv /opt/kernel \
    && /opt/kernel/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r /opt/kernel/requirements.txt \
    && python3 -c 'import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path("stdlib"), \
       quiet=1, workers=0, rx=re.compile("/(test|tests|idlelib|site-packages|dist-packages)/"))' \
    && MPLCONFIGDIR=/opt/kernel/matplotlib /opt/kernel/bin/python /opt/kernel/sandbox_fonts.py \
    && echo 'sandbox:x:10001:10001::/workspace:/bin/sh' >> /etc/passwd \
    && echo 'sandbox:x:10001:' >> /etc/group

COPY sandbox_pool/guest/kernel_*.py /opt/kernel/
RUN /opt/kernel/bin/python -m compileall -q /opt/kernel/*.py

LABEL codeact.kernel="1"
ENV PATH=/opt/kernel/bin:$PATH LANG=C.UTF-8 HOME=/workspace IPYTHONDIR=/tmp/ipython MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /workspace
# Not the uid of anyone on the host: the server lets this uid bind sockets in a directory of its own, and
# then takes that right back.
USER 10001:10001
# The server reads `output` until the kernel says that it is ready. Sockets must be open to the server, which
# is another user; its directory keeps everybody else out. matplotlib wants its font list where it can write.
ENTRYPOINT ["/bin/sh", "-c", "exec >/run/kernel/output 2>&1; umask 000; cp -r /opt/kernel/matplotlib /tmp/; \
    exec python /opt/kernel/kernel_main.py \"$@\"", "kernel"]
