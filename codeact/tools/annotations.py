"""Converts the types in JSON schemas to Python annotations: `list[str]`, `Literal['a', 'b']`, `dict[str, float]`,
`Point`.

An object with named fields becomes a `TypedDict`, so that a reader sees its fields and code may write `Point(x=1, y=2)`
for the dictionary. What a schema does not say, or says at too great a length, becomes `Any`. The result contains only
names that were checked, never text of a schema as code.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["Annotate", "TypeNames"]

DEPTH = 6
MOST_LITERALS = 30
MOST_FIELDS = 40
MOST_TYPES = 200
MOST_SCHEMAS, MOST_SCHEMAS_IN_ALL = 400, 6_000
"""The limits for one function, and for all of them: schemas that refer to each other could otherwise be expanded
without end.
"""

PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "dict"}
NATIVE = {"date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta", "binary": "bytes"}
"""Formats of strings that become Python values where both sides are Python."""

RESERVED = frozenset({"Any", "Literal", "TypedDict", "NotRequired", "CallError", "None", "True", "False", "In", "Out"})

Annotate = Callable[[Any, Mapping[str, Any], str], str]
"""Takes a schema, the root in which its references are resolved, and a name for it; returns the annotation."""


class TypeNames:
    """The named object types of several functions.

    Objects with the same fields share a name; otherwise a number makes the names distinct.
    """

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = RESERVED | set(taken)
        self._writers: dict[str, Annotate] = {}
        self.left = MOST_SCHEMAS_IN_ALL
        self.fields: dict[str, dict[str, str]] = {}
        """For each type name: the annotation of each field."""

    def of_function(self, path: str, is_native: bool) -> Annotate:
        """The function that writes one function's annotations.

        It writes a parameter's annotation only once and remembers it.
        """
        if path not in self._writers:
            writer, written = _Writer(self, is_native), dict[str, str]()

            def annotate(schema: Any, root: Mapping[str, Any], name: str) -> str:
                if name not in written:
                    written[name] = writer.annotation(schema, root, name, DEPTH)
                return written[name]

            self._writers[path] = annotate
        return self._writers[path]

    def definitions(self) -> list[str]:
        """The definitions for a reader: `Point = TypedDict('Point', {'x': int, 'y': NotRequired[int]})`."""
        return [
            f"{name} = TypedDict({name!r}, {{{', '.join(f'{key!r}: {kind}' for key, kind in fields.items())}}})"
            for name, fields in self.fields.items()
        ]

    def source(self) -> list[str]:
        """The definitions as code, in which the types may refer to each other in any order."""
        return [f"{name} = TypedDict({name!r}, {fields!r})" for name, fields in self.fields.items()]

    def begin(self, preferred: str) -> str:
        """Reserves a name for an object whose fields are not known yet."""
        base = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", preferred[:60]))
        base = base if base[:1].isalpha() else f"Type{base}"
        name, number = base, 2
        while name in self._taken or name in self.fields:
            name, number = f"{base}{number}", number + 1
        self.fields[name] = {}
        return name

    def end(self, name: str, fields: dict[str, str]) -> str:
        """Sets the fields of a reserved name. Returns the name, or that of an earlier type with the same fields."""
        base = name.rstrip("0123456789")
        for other in (base, *(f"{base}{number}" for number in range(2, 10))):
            itself = {key: re.sub(rf"\b{name}\b", other, kind) for key, kind in fields.items()}
            if other != name and self.fields.get(other) == itself:
                del self.fields[name]
                return other
        self.fields[name] = fields
        return name


class _Writer:
    def __init__(self, types: TypeNames, is_native: bool) -> None:
        self._types, self._is_native = types, is_native
        self._left = MOST_SCHEMAS
        self._known: dict[tuple[int, str], str] = {}

    def annotation(self, schema: Any, root: Mapping[str, Any], name: str, depth: int) -> str:
        self._left -= 1
        self._types.left -= 1
        if not isinstance(schema, dict) or depth == 0 or self._left < 0 or self._types.left < 0:
            return "Any"
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(reference, root, depth)
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(values, list) and 0 < len(values) <= MOST_LITERALS and all(map(_is_literal, values)):
            return f"Literal[{', '.join(map(repr, values))}]"
        choices = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(choices, list):
            return self._union(choices, root, name, depth)
        merged = schema.get("allOf")
        if isinstance(merged, list) and len(merged) == 1:
            return self.annotation(merged[0], root, name, depth - 1)
        kinds = schema.get("type")
        if isinstance(kinds, list):
            kinds = dict.fromkeys(map(str, kinds[:MOST_LITERALS]))
            return self._union([{**schema, "type": kind} for kind in kinds], root, name, depth)
        return self._of_kind(str(kinds), schema, root, name, depth)

    def _of_kind(self, kind: str, schema: dict[str, Any], root: Mapping[str, Any], name: str, depth: int) -> str:
        if kind == "array":
            return self._array(schema, root, name, depth)
        if kind == "object":
            properties = schema.get("properties")
            if isinstance(properties, dict) and 0 < len(properties) <= MOST_FIELDS:
                return self._object(schema, properties, root, name, depth)
            values = schema.get("additionalProperties")
            if isinstance(values, dict) and values:
                return f"dict[str, {self.annotation(values, root, name, depth - 1)}]"
        if kind == "string" and self._is_native:
            return NATIVE.get(str(schema.get("format")), "str")
        return PLAIN.get(kind, "Any")

    def _array(self, schema: dict[str, Any], root: Mapping[str, Any], name: str, depth: int) -> str:
        first = schema.get("prefixItems")
        if self._is_native and isinstance(first, list) and 0 < len(first) <= MOST_LITERALS:
            return f"tuple[{', '.join(self.annotation(item, root, name, depth - 1) for item in first)}]"
        kind = "set" if self._is_native and schema.get("uniqueItems") is True else "list"
        inner = self.annotation(schema.get("items"), root, name, depth - 1)
        return kind if inner == "Any" else f"{kind}[{inner}]"

    def _union(self, choices: list[Any], root: Mapping[str, Any], name: str, depth: int) -> str:
        names = dict.fromkeys(self.annotation(choice, root, name, depth - 1) for choice in choices[:MOST_LITERALS])
        return "Any" if "Any" in names else " | ".join(names) or "Any"

    def _object(
        self, schema: dict[str, Any], properties: dict[str, Any], root: Mapping[str, Any], name: str, depth: int
    ) -> str:
        if len(self._types.fields) >= MOST_TYPES:
            return "dict"
        title = schema.get("title")
        known = self._types.begin(title if isinstance(title, str) and title else name)
        return self._types.end(known, self._fields(schema, properties, root, depth))

    def _fields(
        self, schema: dict[str, Any], properties: dict[str, Any], root: Mapping[str, Any], depth: int
    ) -> dict[str, str]:
        required = schema.get("required")
        required = {key for key in required if isinstance(key, str)} if isinstance(required, list) else set()
        fields = {}
        for key, value in properties.items():
            kind = self.annotation(value, root, key, depth - 1)
            fields[key[:60]] = kind if key in required else f"NotRequired[{kind}]"
        return fields

    def _referred(self, reference: str, root: Mapping[str, Any], depth: int) -> str:
        """Resolves a reference such as `#/$defs/Point`, once per reference, so that types may contain themselves."""
        place = (id(root), reference)
        if place in self._known:
            return self._known[place]
        target: Any = root
        for step in reference.removeprefix("#/").split("/")[:8] if reference.startswith("#/") else ("",):
            target = target.get(step) if isinstance(target, Mapping) else None
        name = reference.rpartition("/")[2]
        properties = target.get("properties") if isinstance(target, dict) else None
        if (
            isinstance(target, dict)
            and isinstance(properties, dict)
            and 0 < len(properties) <= MOST_FIELDS
            and len(self._types.fields) < MOST_TYPES
        ):
            preferred = target.get("title")
            self._known[place] = self._types.begin(preferred if isinstance(preferred, str) and preferred else name)
            fields = self._fields(target, properties, root, depth - 1)
            self._known[place] = self._types.end(self._known[place], fields)
        else:
            self._known[place] = "Any"
            self._known[place] = self.annotation(target, root, name, depth - 1)
        return self._known[place]


def _is_literal(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, int) and value.bit_length() < 100)
