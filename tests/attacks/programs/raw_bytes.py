# Writes to the connection with the server below ZeroMQ: bytes that no library would send.
import os
import socket
import struct

from attempts import given


def connections(channel):
    """This kernel's ends of the connections that the server has opened to it."""
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
            if str(connection.getsockname()).endswith(f"-{channel}") and connection.getpeername() is not None:
                yield connection
        except OSError:
            pass


def frame(flags, body):
    return struct.pack(">BQ", flags | LONG, len(body)) + body


MORE, LONG, COMMAND = 1, 2, 4
CONTENTS = {
    "garbage": (b"\xff" * 1_000_000, 1),
    "a size that is not there": (struct.pack(">BQ", LONG, 2**62), 1),
    "a message without an end": (frame(MORE, b"x" * 1_000_000), 400),
    "a message of tiny parts": (b"\x01\x01x" * 100_000, 100),
    "large parts": (frame(MORE, b"x" * 40_000_000), 10),
    "pings that ask for answers": (b"\x04\x16\x04PING\0\0" + b"x" * 15 + b"", 300_000),
    "unknown commands": (frame(COMMAND, b"\x05WHATS" + b"x" * 1000), 100_000),
}
for connection in connections(given["channel"]):
    connection.settimeout(3)
    content, times = CONTENTS[given["what"]]
    try:
        for _ in range(times):
            connection.sendall(content)
        print("sent: all", flush=True)
    except OSError as error:
        print(f"sent: {error}", flush=True)
