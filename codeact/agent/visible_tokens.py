"""Finds the tokens of a reply's visible text: the reply's tokens and text enter, tokens of each piece of prose leave.

A reply's text also has code, thoughts and markup, and servers send the tokens of these, too. So tokens are matched with
the reply's text first, and then with those parts of it that the reader found to be prose. No I/O.
"""

from collections import deque
from collections.abc import Iterable

from codeact.dialect.parser_reading import Place
from codeact.model import TokenLogprob

__all__ = ["VisibleTokens"]

WINDOW_BYTES = 4_000
"""How far a token is looked for in text whose tokens did not come."""
MOST_WAITING = 20_000
"""How many tokens wait for the text that has them."""


class VisibleTokens:
    """The tokens of one reply. `came` says whether its server has sent any."""

    def __init__(self) -> None:
        self.came = False
        self._waiting: deque[TokenLogprob] = deque(maxlen=MOST_WAITING)
        self._text = bytearray()  # The part of the reply that no token covers yet, from `_at` on.
        self._at = 0
        self._chars = 0  # How many characters of the reply have begun before the byte `_at`.
        self._placed: deque[tuple[int, int, TokenLogprob]] = deque()  # First character, end, token.
        self._prose: deque[Place] = deque()

    def add(self, tokens: Iterable[TokenLogprob]) -> None:
        """Takes tokens of the reply, before their text. Those that come after it was shown are left out."""
        self.came = True
        if not self._waiting:
            self._skip(len(self._text))
        self._waiting.extend(tokens)

    def text(self, piece: str) -> None:
        """Takes the next piece of the reply's text."""
        self._text += piece.encode(errors="replace")
        self._match()

    def prose(self, places: Iterable[Place]) -> None:
        """Takes pieces of the reply that are prose, before they are stripped."""
        self._prose.extend(places)

    def of(self, visible: str) -> list[tuple[int, TokenLogprob]]:
        """Returns the tokens of the next piece of visible prose, each with its place in that piece.

        A token that also covers markup or white space that was removed is among them, as the model wrote it.
        """
        found: list[tuple[int, TokenLogprob]] = []
        if not self.came:
            self._prose.clear()
            return found
        at = 0
        while at < len(visible) and self._prose:
            start, piece = self._prose.popleft()
            if at == 0 and not visible[0].isspace():  # White space at the beginning of prose is stripped.
                stripped = piece.lstrip()
                start, piece = start + len(piece) - len(stripped), stripped
            size = min(len(piece), len(visible) - at)
            if piece[:size] != visible[at : at + size]:
                return found
            if size < len(piece):
                self._prose.appendleft((start + size, piece[size:]))
            found += [(at + max(0, first - start), token) for first, token in self._between(start, start + size)]
            at += size
        return found

    def _between(self, start: int, end: int) -> list[tuple[int, TokenLogprob]]:
        found = []
        while self._placed and self._placed[0][0] < end:
            first, token_end, token = self._placed.popleft()
            if token_end > start:
                found.append((first, token))
        return found

    def _match(self) -> None:
        """Gives each token its place in the reply. What has no counterpart on the other side is skipped."""
        while self._waiting and self._at < len(self._text):
            token = bytes(self._waiting[0].bytes)
            rest = len(self._text) - self._at
            if len(token) > rest and token.startswith(self._text[self._at :]):
                break
            found = self._text.find(token, self._at, self._at + WINDOW_BYTES) if token else -1
            taken = self._waiting.popleft()
            if found < 0:
                continue
            self._skip(found)
            first = self._chars - (self._text[found] & 0xC0 == 0x80)
            self._skip(found + len(token))
            self._placed.append((first, self._chars, taken))
        if self._at > WINDOW_BYTES:
            del self._text[: self._at]
            self._at = 0

    def _skip(self, to: int) -> None:
        self._chars += sum(byte & 0xC0 != 0x80 for byte in self._text[self._at : to])
        self._at = to
