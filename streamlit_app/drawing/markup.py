"""Makes texts of models, users and code safe to show in Markdown. Pure.

`st.markdown` loads images, typesets formulas between dollars and interprets directives such as `:red[…]`. Texts of
others must not be able to use that, except for formulas and layout in a model's prose.
"""

import re

__all__ = ["plain", "prose", "revealed", "visible"]

NAME_CHARS = 300
PROSE_CHARS = 100_000
MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!$:<>|~&=^])")
# Invisible characters that affect others: control characters, and those that change the writing direction.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# Those of them that can make a text look like another one. Marks that Arabic and Hebrew need are not included.
TURNING = re.compile(r"[\x00\u202a-\u202e\u2066-\u2069]")
JOINER = "\u2060"

DIRECTIVE = re.compile(
    r":(?=(?:red|orange|yellow|green|blue|violet|gr[ae]y|rainbow|primary|small|shimmer)(?:-background|-badge)?\[|material/)"
)
# A fence up to its end (or that of the text), or a code span. Bounded lengths prevent slow searches.
CODE = re.compile(
    r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1|\Z)|(?<!`)(`+)(?!`).{1,500}?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE
)
# A single dollar begins a formula only if no digit follows its end, so that prices stay prices (as in the chat).
FORMULA = re.compile(r"\$\$.{1,5000}?\$\$|(?<!\\)\$(?![\s$])[^$\n]*?[^$\s\\]\$(?!\d)", re.DOTALL)
# A formula contains no other formula's opening, so that every position is examined once. `\\[` is a line break.
_INSIDE = r"(?:(?!(?<!\\)\\[(\[]).)"
BRACKETED = re.compile(rf"(?<!\\)\\\(({_INSIDE}{{1,1000}}?)\\\)|(?<!\\)\\\[({_INSIDE}{{1,5000}}?)\\\]", re.DOTALL)


def visible(text: str, most: int = NAME_CHARS) -> str:
    """A name or a title on one line, shortened if too long. Invisible characters are shown as their code."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return UNSEEN.sub(lambda found: " " if found[0] in "\n\r\t" else _number(found[0]), cut)


def revealed(text: str) -> str:
    """A text of many lines. Characters that could make it look like another text are shown as their code."""
    return TURNING.sub(lambda found: _number(found[0]), text)


def plain(text: str, most: int = NAME_CHARS) -> str:
    """Markdown that shows a name or a sentence literally."""
    return MARKS.sub(r"\\\1", DIRECTIVE.sub(":" + JOINER, visible(text, most)))


def prose(text: str) -> str:
    """A model's Markdown without directives and images: loading an image would tell others who reads it."""
    if len(text) > PROSE_CHARS:
        text = f"{text[:PROSE_CHARS]}\n\n… {len(text) - PROSE_CHARS:,} more characters …"
    # Also inside of code: another parser might find other ends of code.
    text = DIRECTIVE.sub(":" + JOINER, revealed(text).replace("![", f"!{JOINER}["))
    parts, at = [], 0
    for code in CODE.finditer(text):
        parts += [_formulas(text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, _formulas(text[at:])])


def _number(letter: str) -> str:
    return f"⟨U+{ord(letter):04X}⟩"


def _formulas(text: str) -> str:
    """Escapes every dollar that does not belong to a formula."""
    text = BRACKETED.sub(lambda found: f"${found[1].strip()}$" if found[1] else f"$$\n{found[2].strip()}\n$$", text)
    parts, at = [], 0
    for formula in FORMULA.finditer(text):
        parts += [_dollars(text[at : formula.start()]), formula[0]]
        at = formula.end()
    return "".join([*parts, _dollars(text[at:])])


def _dollars(text: str) -> str:
    return re.sub(r"(?<!\\)\$", r"\\$", text)
