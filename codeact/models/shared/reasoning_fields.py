"""Collects a provider's own fields of reasoning from their pieces, to send them back unchanged.

`reasoning_details` (OpenRouter) come as pieces of numbered parts, `thinking_blocks` (Anthropic, through litellm) as
pieces of one block after the other, each ended by its signature. Nothing in them is understood here beyond that.
"""

from typing import Any

__all__ = ["FIELDS", "ReasoningFields"]

FIELDS = ("reasoning_details", "thinking_blocks")
MOST_PARTS = 1_000
MOST_CHARS = 1_000_000
_GROWING = frozenset({"text", "summary", "data", "thinking", "signature"})


class ReasoningFields:
    """The fields of one answer. `take` gives what is there since it was last taken away."""

    def __init__(self) -> None:
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}  # By the part's place in memory: joined once, when taken.
        self._named: str | None = None
        self._chars = 0

    def name(self, field: str) -> None:
        """The text of the reasoning comes under this name."""
        self._named = field

    def add(self, field: str, pieces: list[Any]) -> None:
        """Adds pieces of parts; what is no object, and what is too much, is left out."""
        parts = self._parts.setdefault(field, [])
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            self._chars += sum(len(value) for value in piece.values() if isinstance(value, str))
            if self._chars > MOST_CHARS:
                return
            if parts and self._continues(parts[-1], piece):
                part = parts[-1]
            elif len(parts) < MOST_PARTS:
                part = {}
                parts.append(part)
            else:
                return
            growing = self._texts.setdefault(id(part), {})
            for name, value in piece.items():
                if name in _GROWING and isinstance(value, str):
                    growing.setdefault(name, []).append(value)
                    part.setdefault(name, "")
                elif value is not None or name not in part:
                    part[name] = value

    def take(self) -> dict[str, Any] | None:
        """All fields so far, None where there are none; what comes later makes fields of its own."""
        if not self._parts and self._named is None:
            return None
        fields: dict[str, Any] = {field: [self._joined(part) for part in parts] for field, parts in self._parts.items()}
        if self._named is not None:
            fields[self._named] = None
        self._parts, self._texts, self._named = {}, {}, None
        return fields

    def _continues(self, part: dict[str, Any], piece: dict[str, Any]) -> bool:
        """Whether a piece belongs to the part before it: the same kind and number, and no signature between them."""
        if part.get("type") != piece.get("type") or part.get("index") != piece.get("index"):
            return False
        if piece.get("id") not in (None, part.get("id"), ""):
            return False
        return not self._texts.get(id(part), {}).get("signature") and piece.get("type") != "redacted_thinking"

    def _joined(self, part: dict[str, Any]) -> dict[str, Any]:
        return part | {name: "".join(pieces) for name, pieces in self._texts.get(id(part), {}).items()}
