"""How much a prompt may hold: a model's window enters, the tokens that are left for the prompt leave."""

from dataclasses import dataclass

__all__ = ["RESERVE_TOKENS", "Budget"]

RESERVE_TOKENS = 4_096
OBSERVATION_SHARE = 6
FEWEST_OBSERVATION_CHARS = 800


@dataclass(slots=True)
class Budget:
    """Of one answer. `window_tokens` None: nobody knows it, and only the model's server can say what is too long."""

    window_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def reserve_tokens(self) -> int:
        """What the answer may need: what was asked for, at most a quarter of the window."""
        assert self.window_tokens is not None
        return min(self.output_tokens or RESERVE_TOKENS, self.window_tokens // 4)

    @property
    def room_tokens(self) -> int | None:
        """How many tokens a prompt may have: the window less the answer's reserve. None where nobody knows."""
        return None if self.window_tokens is None else self.window_tokens - self.reserve_tokens

    def observation_chars(self, most: int) -> int:
        """How long an observation may be: `most`, and in a small window a sixth of the prompt's room.

        A character counts as a third of a token here. Less than 800 would say nothing.
        """
        if self.room_tokens is None:
            return most
        return min(most, max(3 * self.room_tokens // OBSERVATION_SHARE, FEWEST_OBSERVATION_CHARS))
