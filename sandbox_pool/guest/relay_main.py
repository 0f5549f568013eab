"""Connects stdin and stdout to a socket in the sandbox.

    python -I -S relay_main.py SOCKET

It ends when stdin or the socket is closed. It needs only the standard library.
"""

import os
import select
import socket
import sys

PIECE_BYTES = 65_536


def main() -> None:
    with socket.socket(socket.AF_UNIX) as kernel:
        kernel.connect(sys.argv[1])
        readable = select.poll()
        readable.register(0, select.POLLIN)
        readable.register(kernel, select.POLLIN)
        while True:
            for descriptor, _ in readable.poll():
                piece = os.read(descriptor, PIECE_BYTES)
                if not piece:
                    return
                if descriptor == 0:
                    kernel.sendall(piece)
                else:
                    while piece:
                        piece = piece[os.write(1, piece) :]


if __name__ == "__main__":
    main()
