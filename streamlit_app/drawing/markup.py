"""Makes texts of models, users and code safe to show in Markdown. Pure.

`st.markdown` loads images, typesets what is between dollars and reads directives such as `:red[…]`. None of that
may be done by a text whose author is not us, but for the formulas and the layout of a model's prose.
"""

import re

__all__ = ["plain", "prose", "revealed", "visible"]

NAME_CHARS = 300
PROSE_CHARS = 100_000
MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!$:<>|~&=^])")
# Characters that nobody sees but that move others: controls, and those that turn the direction of writing.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# Of these, the ones that make a text read as another; marks that Arabic and Hebrew need are not among them.
TURNING = re.compile(r"[\x00\u202a-\u202e\u2066-\u2069]")
JOINER = "\u2060"

DIRECTIVE = re.compile(
    r":(?=(?:red|orange|yellow|green|blue|violet|gr[ae]y|rainbow|primary|small|shimmer)(?:-background|-badge)?\[|material/)"
)
# A fence up to its end or the text's, or a span. What has no bound of its own has one here, against slow searches.
CODE = re.compile(
    r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1|\Z)|(?<!`)(`+)(?!`).{1,500}?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE
)
# One dollar opens a formula only where no digit follows its end, so that prices stay prices (as in the chat).
FORMULA = re.compile(r"\$\$.{1,5000}?\$\$|(?<!\\)\$(?![\s$])[^$\n]*?[^$\s\\]\$(?!\d)", re.DOTALL)
# No formula holds the opening of another, so that each place is looked at once; `\\[` breaks a line in one.
_INSIDE = r"(?:(?!(?<!\\)\\[(\[]).)"
BRACKETED = re.compile(rf"(?<!\\)\\\(({_INSIDE}{{1,1000}}?)\\\)|(?<!\\)\\\[({_INSIDE}{{1,5000}}?)\\\]", re.DOTALL)


def visible(text: str, most: int = NAME_CHARS) -> str:
    """A name or a title on one line, cut where it is endless; what is unseen in it appears as its number."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return UNSEEN.sub(lambda found: " " if found[0] in "\n\r\t" else _number(found[0]), cut)


def revealed(text: str) -> str:
    """A text of many lines, in which what would make it read as another appears as its number."""
    return TURNING.sub(lambda found: _number(found[0]), text)


def plain(text: str, most: int = NAME_CHARS) -> str:
    """Markdown that shows a name or a sentence as it is."""
    return MARKS.sub(r"\\\1", DIRECTIVE.sub(":" + JOINER, visible(text, most)))


def prose(text: str) -> str:
    """A model's Markdown without images, whose loading would tell others who reads, and without directives."""
    if len(text) > PROSE_CHARS:
        text = f"{text[:PROSE_CHARS]}\n\n… {len(text) - PROSE_CHARS:,} more characters …"
    # Anywhere, as no other reading of where code ends can then let one through.
    text = DIRECTIVE.sub(":" + JOINER, revealed(text).replace("![", f"!{JOINER}["))
    parts, at = [], 0
    for code in CODE.finditer(text):
        parts += [_formulas(text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, _formulas(text[at:])])


def _number(letter: str) -> str:
    return f"⟨U+{ord(letter):04X}⟩"


def _formulas(text: str) -> str:
    """With every dollar escaped that is no formula's."""
    text = BRACKETED.sub(lambda found: f"${found[1].strip()}$" if found[1] else f"$$\n{found[2].strip()}\n$$", text)
    parts, at = [], 0
    for formula in FORMULA.finditer(text):
        parts += [_dollars(text[at : formula.start()]), formula[0]]
        at = formula.end()
    return "".join([*parts, _dollars(text[at:])])


def _dollars(text: str) -> str:
    return re.sub(r"(?<!\\)\$", r"\\$", text)
