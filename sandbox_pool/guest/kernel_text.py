"""Converts text so that every JSON decoder accepts it, and shortens it.

`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

__all__ = ["ERROR_CHARS", "encodable", "encodable_tree", "shortened", "words"]

ERROR_CHARS = 100_000
DEPTH = 64


def encodable(text):
    """Replaces each lone surrogate by U+FFFD, and each pair of surrogates by its character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encodable_tree(value, depth=DEPTH):
    """Does the same for every string in dictionaries and lists."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict) and depth:
        return {encodable_tree(key, 0): encodable_tree(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth:
        return [encodable_tree(item, depth - 1) for item in value]
    return value


def shortened(text):
    """Returns the beginning and the end of a text that is too long."""
    if len(text) > ERROR_CHARS:
        half = ERROR_CHARS // 2
        text = f"{text[:half]} [… {len(text) - 2 * half:,} characters …] {text[-half:]}"
    return encodable(text)


def words(error):
    """Returns the text of an exception, even if converting it to text fails."""
    try:
        return str(error)
    except Exception as failure:
        return f"<its text cannot be had: {type(failure).__name__}>"
