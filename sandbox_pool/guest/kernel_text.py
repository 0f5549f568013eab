"""Replaces characters that not every JSON reader accepts.

Runs inside a sandbox, beside `kernel_main.py`, which imports it.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

__all__ = ["ERROR_CHARS", "encodable", "encodable_tree", "shortened", "words"]

ERROR_CHARS = 100_000
DEPTH = 64


def encodable(text):
    """The text with U+FFFD for each lone surrogate; two halves of one character become that character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encodable_tree(value, depth=DEPTH):
    """The same for every string in dictionaries and lists."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict) and depth:
        return {encodable_tree(key, 0): encodable_tree(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth:
        return [encodable_tree(item, depth - 1) for item in value]
    return value


def shortened(text):
    """The beginning and the end of a long text."""
    if len(text) > ERROR_CHARS:
        half = ERROR_CHARS // 2
        text = f"{text[:half]} [… {len(text) - 2 * half:,} characters …] {text[-half:]}"
    return encodable(text)


def words(error):
    """What an exception says; an exception may fail to say it."""
    try:
        return str(error)
    except Exception as failure:
        return f"<its text cannot be had: {type(failure).__name__}>"
