# Looks for what another sandbox has left, for its kernel's sockets and keys, and signals every process there is.
import os
import signal
import socket

from attempts import attempt, everything_below, given, libc, read

for path in everything_below("/workspace", "/tmp", "/dev", "/run", "/var", "/home"):
    if given["mark"] in path or os.path.basename(path) in given["names"]:
        print(f"{path}: REACHED")
for path in given["paths"]:
    attempt(path, read, path)
for name in ("shmget", "msgget"):
    print(f"{name}: {'ENOENT' if getattr(libc, name)(4711, 0, 0) < 0 else 'REACHED'}")
print(f"semget: {'ENOENT' if libc.semget(4711, 0, 0) < 0 else 'REACHED'}")
with socket.socket(socket.AF_UNIX) as client:
    attempt("abstract socket", client.connect, "\0" + given["mark"])
with socket.socket() as client:
    attempt("loopback", client.connect, ("127.0.0.1", 4711))
for path in everything_below("/proc"):
    if path.endswith("/sysvipc/shm") and "4711" in open(path).read():
        print(f"{path}: REACHED")
for name in os.listdir("/proc"):
    if name.isdigit() and given["key"].encode() in open(f"/proc/{name}/cmdline", "rb").read():
        print(f"{name}: REACHED a key")
# Everybody that can be signalled, this kernel apart, and then this kernel's own first process.
attempt("stop them all", lambda: os.kill(-1, signal.SIGSTOP) or "its own")
attempt("end them all", lambda: os.kill(-1, signal.SIGKILL) or "its own")
