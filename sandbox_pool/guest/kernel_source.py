"""Turns a block as a model wrote it into Python source, without changing string literals.

IPython takes prompts and indentation off every block, also inside its strings. Here Python runs as it is; only a
block that Python cannot read may be a pasted session, be indented as a whole, or hold magics.

Runs inside a sandbox, beside `kernel_main.py`, which imports it.
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
            # (`In [1]: a = 5` is Python too, an annotation.)
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
    """Lines that Python cannot read, without the prompts of a pasted session or the indentation of the whole."""
    for first, prompt in ((CLASSIC_FIRST, CLASSIC), (IPYTHON_FIRST, IPYTHON)):
        if lines and first.match(lines[0]):
            return _without_prompts(lines, first, prompt)
    if lines and lines[0].startswith((" ", "\t")):
        return _without_indent(lines)
    return lines


def _without_prompts(lines, first, prompt):
    """The input of a session. After a second prompt, and where all lines are no Python, those without are output."""
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
    """The numbers of the lines that begin inside a string; None where that cannot be told."""
    inside: set[int] = set()
    begins = []
    # The first line makes the indentation of the others right.
    source = io.StringIO("if 1:\n" + "".join(lines))
    try:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in STRING_STARTS:
                begins.append(token.start[0])
            if begins and (token.type == tokenize.STRING or token.type in STRING_ENDS):
                inside.update(range(begins.pop(), token.end[0]))
    except (tokenize.TokenError, SyntaxError):
        # Magics are no tokens. Without a string of several lines there is nothing that could be changed.
        return None if any(quotes in line for line in lines for quotes in ('"""', "'''")) else set()
    return inside
