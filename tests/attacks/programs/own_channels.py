# Floods the kernel's own channels as a client: heartbeat, stdin, control.
import socket
import time

from attempts import given

until = time.monotonic() + 1.0
clients = []
while time.monotonic() < until and len(clients) < 500:
    for number in (1, 3, 4, 5):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(f"{given['directory']}/{given['prefix']}-{number}")
            client.send(b"\xff" + b"\0" * 8 + b"\x7f\3\0NULL" + b"\0" * 48)
            client.send(b"x" * 10_000)
        except OSError:
            pass
        clients.append(client)
print(f"clients: {len(clients)}")
