# Fills memory that belongs to no process: a memory file, shared memory, pipes, sockets.
import ctypes
import mmap
import os
import socket

from attempts import given, libc

MEGABYTE = b"x" * 1_000_000
kept = []


def memory_file():
    descriptor = os.memfd_create("memory")
    while True:
        os.write(descriptor, MEGABYTE)


def system_v():
    libc.shmat.restype = ctypes.c_void_p
    while True:
        number = libc.shmget(0, ctypes.c_size_t(16_000_000), 0o1600)
        if number < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        ctypes.memset(libc.shmat(number, None, 0), 1, 16_000_000)


def anonymous_shared():
    while True:
        kept.append(memory := mmap.mmap(-1, 16_000_000))
        memory.write(b"x" * 16_000_000)


def pipes():
    while True:
        kept.append(os.pipe())
        os.set_blocking(kept[-1][1], False)
        os.write(kept[-1][1], MEGABYTE)


def sockets():
    while True:
        kept.append(socket.socketpair())
        kept[-1][0].setblocking(False)
        try:
            while True:
                kept[-1][0].send(MEGABYTE)
        except BlockingIOError:
            pass


{function.__name__: function for function in (memory_file, system_v, anonymous_shared, pipes, sockets)}[given["what"]]()
