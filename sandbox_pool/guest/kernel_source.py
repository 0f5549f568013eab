"""Turns a block as a model wrote it into Python source, without changing string literals.

IPython removes prompts and indentation from every block, even inside of strings. This module leaves valid Python
unchanged. Only a block that is not valid Python may be a pasted session, be indented as a whole, or contain magics.

`kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import io
import re
import tokenize
import warnings

from IPython.core.inputtransformer2 import TransformerManager, leading_empty_lines

__all__ = ["SourceTransformer", "is_python"]

CLASSIC = re.compile(r"[ \t]*(?:>>>|\.\.\.)(?: |(?=\r?\n|\Z))")
CLASSIC_FIRST = re.compile(r"[ \t]*>>>(?: |(?=\r?\n|\Z))")
IPYTHON = re.compile(r"[ \t]*(?:In ?\[\d+\]:|\.{3,}:)(?: |(?=\r?\n|\Z))")
IPYTHON_FIRST = re.compile(r"[ \t]*In ?\[\d+\]:(?: |(?=\r?\n|\Z))")
STRING_STARTS = {tokenize.STRING, getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "TSTRING_START", -1)}
STRING_ENDS = {getattr(tokenize, "FSTRING_END", -1), getattr(tokenize, "TSTRING_END", -1)}


class SourceTransformer(TransformerManager):
    def __init__(self):
        super().__init__()
        self.cleanup_transforms = [leading_empty_lines, plain_lines]

    def transform_cell(self, cell):
        if is_python(cell) and not IPYTHON_FIRST.match(cell.lstrip()):
            # `In [1]: a = 5` is valid Python, too: an annotation.
            return cell if cell.endswith("\n") else f"{cell}\n"
        return super().transform_cell(cell)


def is_python(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def plain_lines(lines):
    """Removes the prompts of a pasted session, or the common indentation, from a block that is not valid Python."""
    for first, prompt in ((CLASSIC_FIRST, CLASSIC), (IPYTHON_FIRST, IPYTHON)):
        if lines and first.match(lines[0]):
            return _without_prompts(lines, first, prompt)
    if lines and lines[0].startswith((" ", "\t")):
        return _without_indent(lines)
    return lines


def _without_prompts(lines, first, prompt):
    """Returns the input lines of a pasted session.

    Lines without a prompt are output, and removed, if there are several prompts or if the rest is Python without them.
    """
    marks = [(prompt.match(line), line) for line in lines]
    commands = [line[mark.end() :] for mark, line in marks if mark]
    whole = [line[mark.end() :] if mark else line for mark, line in marks]
    session = sum(first.match(line) is not None for line in lines) > 1
    return commands if session or (not is_python("".join(whole)) and is_python("".join(commands))) else whole


def _without_indent(lines):
    inside = _inside_strings(lines)
    if inside is None:
        return lines
    indent = lines[0][: -len(lines[0].lstrip(" \t"))]
    return [line.removeprefix(indent) if number not in inside else line for number, line in enumerate(lines, start=1)]


def _inside_strings(lines):
    """Returns the numbers of the lines that begin inside of a string, or None if that cannot be determined."""
    inside: set[int] = set()
    begins = []
    # With this first line, the indentation of the others is valid.
    source = io.StringIO("if 1:\n" + "".join(lines))
    try:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in STRING_STARTS:
                begins.append(token.start[0])
            if begins and (token.type == tokenize.STRING or token.type in STRING_ENDS):
                inside.update(range(begins.pop(), token.end[0]))
    except (tokenize.TokenError, SyntaxError):
        # Magics cannot be tokenized. Without multi-line strings, no line can begin inside of a string.
        return None if any(quotes in line for line in lines for quotes in ('"""', "'''")) else set()
    return inside
