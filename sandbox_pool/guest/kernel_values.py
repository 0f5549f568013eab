"""Describes values of known types in a few words: type, shape and first part.

`kernel_inventory.py` imports it inside of a sandbox. It runs none of the code's methods: no `__repr__`, no `__len__`,
no property. A class of the code that only has the name of a library's class counts as unknown.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import sys

from kernel_text import encodable  # type: ignore[import-not-found]

__all__ = ["HEAD_CHARS", "measured", "module_of", "name_of", "plain", "short", "table_of", "type_name"]

NAME_CHARS, HEAD_CHARS = 100, 200
ITEMS, DEPTH = 5, 3
COLUMNS, ROWS, CELL_CHARS = 40, 2, 30
TABLE_COLUMNS, TABLE_ROWS = 12, 5
LARGEST_BITS = 400
MOST_CONTENTS = 1_000_000
name_of, module_of = type.__dict__["__name__"].__get__, type.__dict__["__module__"].__get__
DATES = ("date", "datetime", "time", "timedelta")


def plain(value):
    """Returns a string shortened, and "" for anything else."""
    return encodable(value)[:NAME_CHARS] if type(value) is str else ""


def type_name(kind):
    name, module = plain(name_of(kind)), plain(module_of(kind))
    return name if module in ("builtins", "__main__", "") else f"{module.partition('.')[0]}.{name}"


def library_of(kind):
    """Returns the package that contains this class under its own name, or "" if there is none."""
    module, name = module_of(kind), name_of(kind)
    if type(module) is not str or vars(sys.modules.get(module, sys)).get(name) is not kind:
        return ""
    return module.partition(".")[0]


def measured(value):
    """Returns the shape and the details of a value of a known type, or two empty strings."""
    kind = type(value)
    library = library_of(kind)
    name = plain(name_of(kind))
    if kind in (list, tuple, set, frozenset, dict, str, bytes, bytearray):
        return str(len(value)), ", ".join(short(key, 1) for key in list(value)[: ITEMS * 4]) if kind is dict else ""
    if library == "numpy" and name == "ndarray":
        return str(tuple(value.shape)), f"dtype {value.dtype}"
    if library == "pandas" and name == "DataFrame":
        dtypes = list(value.dtypes)
        columns = [f"{short(label, 1)} {short_dtype(dtypes[at])}" for at, label in enumerate(value.columns[:COLUMNS])]
        more = f" and {len(dtypes) - COLUMNS} more" if len(dtypes) > COLUMNS else ""
        return str(value.shape), f"columns: {', '.join(columns)}{more}"
    if library == "pandas" and name == "Series":
        return str(value.shape), f"dtype {short_dtype(value.dtype)}, name {short(value.name, 1)}"
    if library == "polars" and name == "DataFrame":
        columns = [f"{short(label, 1)} {dtype}" for label, dtype in list(value.schema.items())[:COLUMNS]]
        return str(value.shape), f"columns: {', '.join(columns)}"
    if library == "torch" and name == "Tensor":
        return str(tuple(value.shape)), f"dtype {value.dtype}"
    if library == "PIL":
        fields = _fields(value)
        return short(fields.get("_size"), 1), f"mode {short(fields.get('_mode'), 1)}"
    return "", ""


def table_of(value):
    """Returns the labels and the first rows of a data frame as texts, or None for anything else."""
    library, name = library_of(type(value)), plain(name_of(type(value)))
    if name != "DataFrame" or library not in ("pandas", "polars"):
        return None
    if library == "pandas":
        if not all(map(_is_known, value.dtypes)):
            return None
        labels, rows = (
            value.columns[:TABLE_COLUMNS],
            value.iloc[:TABLE_ROWS, :TABLE_COLUMNS].itertuples(index=False, name=None),
        )
    else:
        labels, rows = value.columns[:TABLE_COLUMNS], value.head(TABLE_ROWS).rows()
    table = [[short(label, 0) for label in labels]]
    table += [[short(cell, 0) for cell in row[:TABLE_COLUMNS]] for row in rows]
    return [[encodable(cell.strip("'"))[:CELL_CHARS] for cell in row] for row in table]


def short_dtype(dtype):
    return str(dtype)[:CELL_CHARS] if _is_known(dtype) else type_name(type(dtype))


def short(value, depth=DEPTH):
    """Returns the first part of the `repr` of a value of a known type, or else the name of its type."""
    kind = type(value)
    if kind is str:
        return repr(value if len(value) <= HEAD_CHARS else f"{value[:HEAD_CHARS]}…")
    if kind is bytes or kind is bytearray:
        return repr(bytes(value[:CELL_CHARS])) + ("…" if len(value) > CELL_CHARS else "")
    if kind is int:
        return repr(value) if value.bit_length() <= LARGEST_BITS else f"<int of {value.bit_length()} bits>"
    if kind in (float, bool, complex, type(None), range):
        return repr(value)
    if kind in (list, tuple, set, frozenset, dict):
        return _contents(value, kind, depth)
    return _known(value, kind, depth)


def _contents(value, kind, depth):
    if depth == 0:
        return f"<{name_of(kind)} of {len(value)}>"
    items = list(value.items() if kind is dict else value)[:ITEMS] if len(value) < MOST_CONTENTS else []
    more = ", …" if len(value) > len(items) else ""
    if kind is dict:
        return "{" + ", ".join(f"{short(key, 0)}: {short(item, depth - 1)}" for key, item in items) + more + "}"
    inside = ", ".join(short(item, depth - 1) for item in items) + more
    return f"[{inside}]" if kind is list else f"({inside})" if kind is tuple else "{" + inside + "}"


def _known(value, kind, depth):
    library, name = library_of(kind), plain(name_of(kind))
    match library, name:
        case "datetime", _ if name in DATES and getattr(value, "tzinfo", None) is None:
            return str(value)
        case ("decimal", "Decimal") | ("pandas", "Timestamp"):
            return str(value)[:CELL_CHARS]
        case "numpy", "ndarray":
            return _listed(value.flat[:ITEMS].tolist(), value.size)
        case "numpy", _ if name != "void" and name_of(kind.__mro__[-2]) == "generic":
            return str(value)[:CELL_CHARS]
        case "pandas", "DataFrame" if depth and all(map(_is_known, value.dtypes)):
            rows = value.iloc[:ROWS, :COLUMNS].itertuples(index=False, name=None)
            return " | ".join(", ".join(short(cell, 0)[:CELL_CHARS] for cell in row) for row in rows)
        case "pandas", "Series" if depth and _is_known(value.dtype):
            return _listed(value.iloc[:ITEMS].tolist(), len(value))
        case "__main__", _ if depth:
            fields = list(_fields(value).items())[: 2 * ITEMS]
            return f"{name}({', '.join(f'{plain(each)}={short(item, depth - 1)}' for each, item in fields)})"
    return f"<{type_name(kind)}>"


def _listed(items, size):
    inside = ", ".join(short(item, 0)[:CELL_CHARS] for item in items)
    return f"[{inside}{', …' if size > len(items) else ''}]"


def _is_known(dtype):
    return library_of(type(dtype)) in ("numpy", "pandas")


def _fields(value):
    """Returns the value's own `__dict__`, without running its methods."""
    try:
        fields = object.__getattribute__(value, "__dict__")
    except Exception:
        return {}
    return fields if type(fields) is dict else {}
