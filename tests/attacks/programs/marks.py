# Leaves something of its own in every place that sandboxes might share.
import ctypes
import os
import socket

from attempts import given, libc

for directory in ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue", "/run/codeact"):
    try:
        open(f"{directory}/{given['mark']}", "w").write(given["mark"])
    except OSError:
        pass
KEY, IPC_CREAT = 4711, 0o1666
libc.shmget(KEY, ctypes.c_size_t(4096), IPC_CREAT)
libc.msgget(KEY, IPC_CREAT)
libc.semget(KEY, 1, IPC_CREAT)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0" + given["mark"])
listener.listen()
server = socket.create_server(("127.0.0.1", 4711))
print(f"pid: {os.getpid()}")
