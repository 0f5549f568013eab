# Opens files, sockets, terminals and watches for as long as it is let, in as many processes as it is let.
import ctypes
import errno
import os
import signal
import socket

from attempts import libc


def watch():
    descriptor = libc.inotify_init()
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init")
    return descriptor


kept = []


def exhaust():
    for open_one in (watch, os.openpty, socket.socket):
        try:
            while True:
                kept.append(open_one())
        except OSError as error:
            print(f"{open_one.__name__}: {errno.errorcode[error.errno]}", flush=True)


for _ in range(8):
    if os.fork() == 0:
        exhaust()
        signal.pause()
exhaust()
