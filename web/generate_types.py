"""Generates `web/src/wire.ts` from `codeact/events/`: the TypeScript types of events, items and outputs.

python web/generate_types.py            writes the file
python web/generate_types.py --check    fails if the file is not up to date
"""

import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect

from codeact import events as e
from codeact.errors import CodeActError
from sandbox_pool.outputs import Output

TARGET = Path(__file__).parent / "src" / "wire.ts"
HEADER = "// The wire's types. Generated from codeact/events/ by web/generate_types.py; never edited by hand.\n"
UNIONS = {"Event": e.Event, "Input": e.Input, "Item": e.Item, "Output": Output, "TerminalEvent": e.TerminalEvent}
OTHERS = (e.Response, e.CheckpointItem)


def main() -> int:
    text = generate()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text("utf-8") == text:
            return 0
        print(f"{TARGET} is not up to date: run `make types`.", file=sys.stderr)  # noqa: T201
        return 1
    TARGET.write_text(text, "utf-8")
    return 0


def generate() -> str:
    """Returns the file's text: one interface for each struct that the unions contain, sorted by name."""
    structs: dict[str, type] = {}
    for kind in (*(kind for union in UNIONS.values() for kind in get_args(union)), *OTHERS):
        _collect(inspect.type_info(kind), structs)
    parts = [_interface(structs[name]) for name in sorted(structs)]
    parts += [f"export type {name} ={_union(union)};\n" for name, union in UNIONS.items()]
    return "\n".join([HEADER, *parts])


def _union(union: Any) -> str:
    return "".join(f"\n  | {kind.__name__}" for kind in get_args(union))


def _collect(info: inspect.Type, structs: dict[str, type]) -> None:
    match info:
        case inspect.StructType(cls=cls):
            if cls.__name__ not in structs:
                structs[cls.__name__] = cls
                for field in info.fields:
                    _collect(field.type, structs)
        case inspect.UnionType(types=types):
            for member in types:
                _collect(member, structs)
        case inspect.ListType(item_type=item):
            _collect(item, structs)
        case inspect.DictType(value_type=value):
            _collect(value, structs)


def _interface(cls: type) -> str:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    lines = [f"export interface {cls.__name__} {{"]
    if info.tag is not None:
        lines.append(f"  {info.tag_field}: {msgspec.json.encode(info.tag).decode()};")
    left_out = cls.__struct_config__.omit_defaults  # type: ignore[attr-defined]
    for field in info.fields:
        name = field.encode_name if field.encode_name.isidentifier() else f'"{field.encode_name}"'
        optional = "?" if left_out and not field.required else ""
        lines.append(f"  {name}{optional}: {_type(field.type)};")
    return "\n".join([*lines, "}", ""])


def _type(info: inspect.Type) -> str:
    match info:
        case inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.UnionType(types=types):
            return " | ".join(_type(member) for member in types)
        case inspect.ListType(item_type=item):
            inner = _type(item)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case inspect.DictType(value_type=value):
            return f"Record<string, {_type(value)}>"
        case inspect.LiteralType(values=values):
            return " | ".join(msgspec.json.encode(value).decode() for value in sorted(values))
        case inspect.StrType():
            return "string"
        case inspect.IntType() | inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.AnyType() | inspect.RawType():
            return "unknown"
    raise CodeActError(f"TypeScript has no type for {info}.")


if __name__ == "__main__":
    raise SystemExit(main())
