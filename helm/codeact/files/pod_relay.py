"""Relays bytes between pairs of sockets, for the first process of a pod.

It needs nothing but the standard library, and keeps at most one piece for a side that does not read.
"""

import select
import socket
import time

__all__ = ["Relay"]

PIECE_BYTES = 65_536
REST_S = 1.0


class Relay:
    """Pairs of sockets that do not block. `poll` is asked elsewhere too; what it says of ours goes to `handle`."""

    def __init__(self, poll: select.poll) -> None:
        self.poll = poll
        self.sockets: dict[int, socket.socket] = {}
        self.partner: dict[int, int] = {}
        self.pending: dict[int, bytes] = {}

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self.partner

    def join(self, one: socket.socket, other: socket.socket) -> None:
        self.partner[one.fileno()], self.partner[other.fileno()] = other.fileno(), one.fileno()
        for end in (one, other):
            self.sockets[end.fileno()] = end
            self.pending[end.fileno()] = b""
            self.poll.register(end.fileno(), select.POLLIN)

    def handle(self, descriptor: int, event: int) -> None:
        """Passes on what has come. Of what the other side does not take yet, one piece is kept, and no more is read."""
        partner = self.partner[descriptor]
        try:
            if event & select.POLLOUT:
                left = self.pending[descriptor]
                self.pending[descriptor] = left[self.sockets[descriptor].send(left) :]
            elif not self.pending[partner]:
                piece = self.sockets[descriptor].recv(PIECE_BYTES)
                if not piece:
                    raise ConnectionError
                self.pending[partner] = piece
                self.pending[partner] = piece[self.sockets[partner].send(piece) :]
        except BlockingIOError:
            pass
        except OSError:
            for each in (descriptor, partner):
                self.listen_to(each, 0)
                self.sockets.pop(each).close()
                del self.partner[each], self.pending[each]
            return
        for end, opposite in ((descriptor, partner), (partner, descriptor)):
            self.listen_to(end, (not self.pending[opposite]) * select.POLLIN | bool(self.pending[end]) * select.POLLOUT)

    def listen_to(self, descriptor: int, events: int) -> None:
        """To nothing, even its end, where there are no events."""
        if events:
            self.poll.register(descriptor, events)
            return
        try:
            self.poll.unregister(descriptor)
        except KeyError:
            pass

    def pass_on_the_rest(self) -> None:
        """Relays what the kernel said before it ended. A child of its may hold its sockets open."""
        deadline = time.monotonic() + REST_S
        while self.partner and time.monotonic() < deadline:
            events = [(each, event) for each, event in self.poll.poll(50) if each in self.partner]
            if not events and not any(self.pending.values()):
                break
            for each, event in events:
                if each in self.partner:
                    self.handle(each, event)
