"""Collects a provider's own reasoning fields from their pieces, to send them back unchanged.

`reasoning_details` (OpenRouter) arrive as pieces of numbered parts, `thinking_blocks` (Anthropic, through litellm) as
pieces of consecutive blocks, each ended by its signature. Their content is not interpreted further.
"""

from typing import Any

__all__ = ["FIELDS", "ReasoningFields"]

FIELDS = ("reasoning_details", "thinking_blocks")
MOST_PARTS = 1_000
MOST_CHARS = 1_000_000
_GROWING = frozenset({"text", "summary", "data", "thinking", "signature"})


class ReasoningFields:
    """The reasoning fields of one answer. `take` returns what has been collected since the last `take`."""

    def __init__(self) -> None:
        self._parts: dict[str, list[dict[str, Any]]] = {}
        # By the `id` of the part: the pieces are joined once, in `take`.
        self._texts: dict[int, dict[str, list[str]]] = {}
        self._named: str | None = None
        self._chars = 0

    def name(self, field: str) -> None:
        """Notes that the server sends the reasoning text under this name."""
        self._named = field

    def add(self, field: str, pieces: list[Any]) -> None:
        """Adds pieces of parts. Pieces that are not objects, or exceed the limits, are left out."""
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
        """Returns and clears the fields collected so far; None if there are none."""
        if not self._parts and self._named is None:
            return None
        fields: dict[str, Any] = {field: [self._joined(part) for part in parts] for field, parts in self._parts.items()}
        if self._named is not None:
            fields[self._named] = None
        self._parts, self._texts, self._named = {}, {}, None
        return fields

    def _continues(self, part: dict[str, Any], piece: dict[str, Any]) -> bool:
        """Whether a piece continues the previous part: same type and index, and the part has no signature yet."""
        if part.get("type") != piece.get("type") or part.get("index") != piece.get("index"):
            return False
        if piece.get("id") not in (None, part.get("id"), ""):
            return False
        return not self._texts.get(id(part), {}).get("signature") and piece.get("type") != "redacted_thinking"

    def _joined(self, part: dict[str, Any]) -> dict[str, Any]:
        return part | {name: "".join(pieces) for name, pieces in self._texts.get(id(part), {}).items()}
