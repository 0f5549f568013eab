# Asks the container engine, the database and whoever else listens on a Unix socket of the host.
import os
import socket
import stat

from attempts import attempt, everything_below, given

ENGINES = (
    "/run/containerd/containerd.sock",
    "/run/docker.sock",
    "/run/dbus/system_bus_socket",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    "/var/run/docker.sock",
)


def connect(address):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(address)


for path in (*ENGINES, given["database"], given["listener"]):
    attempt(path, connect, path)
attempt("abstract", connect, "\0" + given["abstract"])
for path in everything_below("/"):
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode) and not path.startswith(("/run/codeact/kernel-", "/run/kernel/k-")):
            print(f"{path}: REACHED a socket")
    except OSError:
        pass
if given["abstract"] in open("/proc/net/unix").read():
    print("/proc/net/unix: REACHED the host's list")
