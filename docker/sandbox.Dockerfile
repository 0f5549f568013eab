# The image of a sandbox, whose entrypoint is a kernel. The base needs Python 3.12 or newer with venv.
#
# The server builds it if it is missing (sandbox_pool/backends/docker/image.py). To build it by hand, run in the checkout:
#   tar -c docker sandbox_pool/guest/kernel_*.py | docker build -f docker/sandbox.Dockerfile -t my-sandbox -
# With --build-arg REQUIREMENTS=sandbox-minimal-requirements it has only numpy, pandas and matplotlib.
# For an image with more packages, write a Dockerfile with `FROM my-sandbox`, `USER root`, `RUN pip install …` and
# `USER sandbox`, and name the image in CODEACT_SANDBOX_IMAGE.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
# The packages to install: sandbox-requirements or sandbox-minimal-requirements.
ARG REQUIREMENTS=sandbox-requirements
# The label comes first so that the layers of a failed build have it, too (sandbox_pool/backends/docker/stale_images.py).
LABEL codeact.build="1"

COPY docker/${REQUIREMENTS}.txt /opt/kernel/requirements.txt
COPY docker/sandbox_fonts.py /opt/kernel/
# The root file system is read-only at run time, so this step creates what Python would cache then: bytecode, also of
# the standard library if the base has none, and matplotlib's font list.
RUN python3 -m venv /opt/kernel \
    && /opt/kernel/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r /opt/kernel/requirements.txt \
    && python3 -c 'import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path("stdlib"), \
       quiet=1, workers=0, rx=re.compile("/(test|tests|idlelib|site-packages|dist-packages)/"))' \
    && MPLCONFIGDIR=/opt/kernel/matplotlib /opt/kernel/bin/python /opt/kernel/sandbox_fonts.py \
    && echo 'sandbox:x:10001:10001::/workspace:/bin/sh' >> /etc/passwd \
    && echo 'sandbox:x:10001:' >> /etc/group

COPY sandbox_pool/guest/kernel_*.py /opt/kernel/
# Models know the working directory of other code interpreters as /mnt/data.
RUN /opt/kernel/bin/python -m compileall -q /opt/kernel/*.py && ln -s /workspace /mnt/data

LABEL codeact.kernel="1"
ENV PATH=/opt/kernel/bin:$PATH LANG=C.UTF-8 HOME=/workspace IPYTHONDIR=/tmp/ipython MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /workspace
# No user of the host should have this uid: the server lets it bind sockets in the sandbox's directory, and then
# revokes that right.
USER 10001:10001
# The server reads `output` until the kernel is ready. The umask lets the server, which is another user, use the sockets;
# the directory's mode keeps all others out. matplotlib needs its font list in a writable directory.
ENTRYPOINT ["/bin/sh", "-c", "exec >/run/kernel/output 2>&1; umask 000; cp -r /opt/kernel/matplotlib /tmp/; \
    exec python /opt/kernel/kernel_main.py \"$@\"", "kernel"]
