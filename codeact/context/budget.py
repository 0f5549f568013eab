"""The space for a prompt in a model's context window, after the reserve for the answer."""

from dataclasses import dataclass

__all__ = ["RESERVE_TOKENS", "Budget"]

RESERVE_TOKENS = 4_096
OBSERVATION_SHARE = 6
FEWEST_OBSERVATION_CHARS = 800


@dataclass(slots=True)
class Budget:
    """The budget of one answer. `window_tokens` is None if unknown; then the server decides what is too long."""

    window_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def reserve_tokens(self) -> int:
        """The reserve for the answer: the requested output tokens, but at most a quarter of the window."""
        assert self.window_tokens is not None
        return min(self.output_tokens or RESERVE_TOKENS, self.window_tokens // 4)

    @property
    def room_tokens(self) -> int | None:
        """How many tokens a prompt may have: the window minus the reserve. None if the window is unknown."""
        return None if self.window_tokens is None else self.window_tokens - self.reserve_tokens

    def observation_chars(self, most: int) -> int:
        """Returns the limit for an observation in characters: `most`, or in a small window a sixth of the prompt.

        A character counts as a third of a token. The limit is at least 800: shorter observations would be useless.
        """
        if self.room_tokens is None:
            return most
        return min(most, max(3 * self.room_tokens // OBSERVATION_SHARE, FEWEST_OBSERVATION_CHARS))
