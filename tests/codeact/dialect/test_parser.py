"""The parser splits a model's text into segments, wherever the text is cut."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codeact.dialect.parser import Parser
from codeact.dialect.segments import (
    CodeEnd,
    CodeStart,
    CodeText,
    Invented,
    Malformed,
    Segment,
    Text,
    Thinking,
    ThoughtAloud,
    Unreadable,
)


def merged(segments: list[Segment]) -> list[Segment]:
    """The segments, with neighbours of the same kind joined."""
    result: list[Segment] = []
    for segment in segments:
        match segment, result[-1] if result else None:
            case (Text(new), Text(old)):
                result[-1] = Text(old + new)
            case (Thinking(new), Thinking(old)):
                result[-1] = Thinking(old + new)
            case (CodeText(new), CodeText(old)):
                result[-1] = CodeText(old + new)
            case _:
                result.append(segment)
    return result


def parse(*chunks: str, fences: bool = True, thinks: bool = False) -> list[Segment]:
    parser = Parser(fences=fences, thinks=thinks)
    segments = [segment for chunk in chunks for segment in parser.feed(chunk)]
    return merged(segments + parser.finish())


def block(code: str, *, tagged: bool = True) -> list[Segment]:
    return [CodeStart(tagged), CodeText(code), CodeEnd(code)]


def run(text: str, *, fences: bool = True) -> str | None:
    """The code of the block in `text`."""
    return next((segment.code for segment in parse(text, fences=fences) if isinstance(segment, CodeEnd)), None)


# ---- blocks ------------------------------------------------------------------------------------------


def test_prose_then_code_then_nothing() -> None:
    text = "Let me see.\n\n<execute>\nprint(1)\n</execute>\nObservation: 2"
    assert parse(text) == [Text("Let me see."), *block("print(1)")]


def test_an_answer_without_code_is_text() -> None:
    assert parse("It is **4**.\n") == [Text("It is **4**.")]


def test_no_text_at_all_gives_no_segments() -> None:
    assert parse() == parse("") == parse(" \n\n ") == []


def test_the_parser_is_done_at_the_closing_tag_and_ignores_the_rest() -> None:
    parser = Parser()
    assert merged(parser.feed("<execute>1</execute> Observation")) == block("1")
    assert parser.done
    assert parser.feed("more") == parser.finish() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<execute>print(1)</execute>", "print(1)"),
        ("<execute>  print(1)  </execute>", "print(1)"),
        ("<execute>\n\n  \nprint(1)\n\n\n</execute>", "print(1)"),
        ("<execute>\r\nprint(1)\r\n</execute>", "print(1)"),
        ("<execute>\n    x = 1\n    x\n</execute>", "    x = 1\n    x"),
        ("<execute>\nfor x in y:\n    x\n\nz\n</execute>", "for x in y:\n    x\n\nz"),
        ("<execute>a < b</execute>", "a < b"),
        ("<execute>a </exec b</execute>", "a </exec b"),
    ],
)
def test_only_blank_lines_around_the_code_are_stripped(text: str, code: str) -> None:
    assert run(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "<execute>\nprint(1)",
        "<execute>\nprint(1)\n",
        "<execute>\nprint(1)\n</execute",
        "<execute>\nprint(1)\n  </",
        "<execute><execute>\nprint(1)\n</execute></execute>",
        "<execute>\n<execute>\nprint(1)\n</execute>\n</execute>",
        "</execute>\n<execute>\nprint(1)\n</execute>",
        "<execute>\n</execute>\n<execute>print(1)</execute>",
    ],
)
def test_missing_doubled_and_stray_tags_are_tolerated(text: str) -> None:
    assert parse(text) == block("print(1)")


@pytest.mark.parametrize("text", ["<execute></execute>", "<execute>\n \n</execute>", "<execute>", "```python\n```\n"])
def test_an_empty_block_is_dropped(text: str) -> None:
    assert parse(f"a\n{text}") == [Text("a")]


def test_a_stray_closing_tag_in_prose_is_dropped() -> None:
    assert parse("It is 4.</execute> Yes.") == [Text("It is 4. Yes.")]


def test_other_tags_are_text() -> None:
    text = "a < b, <b>bold</b>, <executes>, <exec, </ execute> and <"
    assert parse(text) == [Text(text)]


# ---- prose that only talks about tags ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Use `<execute>` to run.",
        "Use ``a ` <execute>`` to run.",
        "`<execute>1</execute>` runs `1`.",
        "`</execute>`, `<think>`",
        "``` <execute> ``` is a span here",
        "```text\n<execute>\n1\n</execute>\n```",
        "```\n<execute>\n1\n</execute>\n```\n\nDone.",
        "~~~~json\n~~~\n<execute>\n~~~~~\nDone.",
        "````markdown\n```python\n1\n```\n````",
        "  ```sh\nls <think>\n  ```",
    ],
)
@pytest.mark.parametrize("fences", [True, False])
def test_tags_in_code_spans_and_other_fences_are_prose(text: str, fences: bool) -> None:
    assert parse(text, fences=fences) == [Text(text.strip())]


@pytest.mark.parametrize(
    "prose", ["An odd ` tick: ", "An odd ` tick.\n", "``` `closed` ```\n", "`a` `", "```text\nx\n```\n", "`` ` "]
)
def test_an_unclosed_code_span_hides_no_tag(prose: str) -> None:
    assert parse(f"{prose}<execute>\n1\n</execute>") == [Text(prose.strip()), *block("1")]


# ---- fences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["python", "Python", "py", "ipython", "ipython3", "tool_code", "python title=x"])
@pytest.mark.parametrize("fence", ["```", "~~~", "`````", "   ```"])
def test_a_python_fence_is_code(fence: str, language: str) -> None:
    text = f"So:\n{fence}{language}\nprint(1)\n{fence}\nObservation: 2"
    assert parse(text) == [Text("So:"), *block("print(1)", tagged=False)]


@pytest.mark.parametrize("end", ["", "\n", "\n``", "\n```", "\n``` ", "\n</execute>"])
def test_a_fence_ends_with_the_text(end: str) -> None:
    assert run("```python\nprint(1)" + end) == "print(1)"


@pytest.mark.parametrize("language", ["", "text", "json", "pycon", "python-repl"])
def test_other_fences_are_prose(language: str) -> None:
    text = f"```{language}\nprint(1)\n```"
    assert parse(text) == [Text(text)]


@pytest.mark.parametrize("text", ["    ```python\n1\n    ```", "see ```python\n1\n```", "> ```python\n> 1"])
def test_a_fence_stands_at_the_start_of_a_line(text: str) -> None:
    assert run(text) is None


def test_without_fences_a_python_fence_is_prose_and_tags_still_run() -> None:
    text = "```python\nprint(1)\n```"
    assert parse(text, fences=False) == [Text(text)]
    assert parse(f"{text}\n<execute>2</execute>", fences=False) == [Text(text), *block("2")]


@pytest.mark.parametrize("fences", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "<execute>\n```python\nprint(1)\n```\n</execute>",
        "<execute>\n```\nprint(1)\n```\n</execute>",
        "<execute>```Py\nprint(1)\n```</execute>",
        "<execute>\n~~~tool_code\nprint(1)\n~~~",
        "<execute>\n```python\nprint(1)\n```\n\nObservation: 1",
        "<execute>\n```python\nprint(1)\n</execute>",
        "```python\n<execute>\nprint(1)\n</execute>\n```",
        "```python\n\n<execute>print(1)\n```",
    ],
)
def test_a_fence_and_tags_right_inside_each_other_are_one_pair(text: str, fences: bool) -> None:
    assert parse(text, fences=fences) == block("print(1)")


def test_a_fence_of_another_language_inside_the_tags_stays_in_the_code() -> None:
    assert run("<execute>\n```bash\nls\n```\n</execute>") == "```bash\nls\n```"


# ---- strings in code ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "x = '</execute>'",
        'x = "a </execute> b"; y = 1',
        "x = f'{a}</execute>{b}'",
        r"x = 'it\'s </execute>'",
        r"x = '\\', '</execute>'",
        "x = '' + '</execute>'",
        "x = 'a \\\n</execute> b'",
        '"""a </execute> b"""',
        "'''\n</execute> b\n'''",
        "'''it's </execute> \"\"\" here'''",
        'x = """\n```\n</execute>, in a fence\n```\n"""',
        "x = 1  # it's\ny = '</execute>'",
    ],
)
@pytest.mark.parametrize("end", ["\n</execute>", "</execute>", "\n"])
def test_a_closing_tag_in_a_string_literal_does_not_close(code: str, end: str) -> None:
    assert run(f"<execute>\n{code}{end}") == code


@pytest.mark.parametrize(
    ("code", "rest"),
    [
        ("x = 1  # don't", "</execute>'"),
        ("x = 'it", "</execute>\ny = ''"),
        ("x = 'it", "</execute>"),
        ("x = 'it's'", "</execute>\n"),
        ("x = 'a'", "</execute>'"),
        (r"x = '\'", "</execute>\n'"),
        ('x = """a', "\n</execute>\n"),
        ('x = """a', '\n  </execute>  \nObservation: """'),
        ('x = """a', "</execute>\n\n"),
        ('x = """', "</execute>"),
        ("x = '''a'''", "</execute>"),
        ('x = """a\\"""', "\n</execute>\n"),
    ],
)
def test_a_literal_that_is_never_closed_does_not_hide_the_closing_tag(code: str, rest: str) -> None:
    assert run(f"<execute>\n{code}{rest}") == code


def test_a_fence_in_a_triple_quoted_string_does_not_close() -> None:
    code = 'text = """\n```python\nx\n```\n"""\nprint(text)'
    assert run(f"```python\n{code}\n```\n") == code
    assert run(f"<execute>\n```python\n{code}\n```\n</execute>") == code


def test_a_shorter_fence_in_code_does_not_close() -> None:
    assert run("````python\na\n```\nb\n````") == "a\n```\nb"


def test_think_tags_in_code_are_code() -> None:
    assert run("<execute>\nx = 1 # <think>\n</execute>") == "x = 1 # <think>"


# ---- thinking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["think", "thinking"])
def test_thinking_is_told_from_text_and_tags_inside_it_do_nothing(tag: str) -> None:
    text = f"<{tag}>\nI could <execute>1</execute> `\n</{tag}>\n\nHello <execute>2</execute>"
    assert parse(text) == [Thinking("I could <execute>1</execute> `"), Text("Hello"), *block("2")]


def test_unclosed_thinking_ends_with_the_text() -> None:
    assert parse("Hm. <think>so\n<execute>1") == [Text("Hm."), Thinking("so\n<execute>1")]


def test_a_closing_think_tag_without_its_opening_makes_a_thought_of_what_was_said() -> None:
    assert parse("hm\n</think>\n<execute>\n4\n</execute>") == [Text("hm"), ThoughtAloud(), *block("4")]
    assert parse("</think>\nIt is 4.") == [Text("It is 4.")]


def test_a_model_that_is_known_to_swallow_the_beginning_of_its_thought_thinks_first() -> None:
    thought = "Perhaps <execute>\n1\n</execute>?"
    assert parse(f"{thought}\n</think>\n<execute>\n4\n</execute>", thinks=True) == [Thinking(thought), *block("4")]
    assert parse(f"<think>{thought}</think>It is 4.", thinks=True) == [Thinking(thought), Text("It is 4.")]


def test_where_such_a_model_only_answers_its_words_are_the_answer() -> None:
    assert parse("It is 4.", thinks=True) == [Thinking("It is 4."), Text("It is 4.")]
    assert parse("So:\n<execute>\n4\n</execute>", thinks=True)[-3:] == block("4")


def test_empty_thinking_leaves_no_trace() -> None:
    assert parse("<think>\n\n</think>\n\nHello") == [Text("Hello")]


# ---- code in another dress -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<Execute>\nprint(1)\n</Execute>",
        "<EXECUTE>print(1)</EXECUTE>",
        '<execute language="python">\nprint(1)\n</execute>',
        "<execute_ipython>\nprint(1)\n</execute_ipython>",
        "<execute_ipython>\nprint(1)\n</execute>",
        "<tool_code>\nprint(1)\n</tool_code>",
        "<code>\nprint(1)\n</code>",
        "<python>\nprint(1)\n</python>",
        "<execute>\nprint(1)\n</code>\nThen I am done.",
        "<execute>\nprint(1)\n[/execute]\nThen I am done.",
        "<execute>\nprint(1)\n<end_execute>\nThen I am done.",
        "<execute>\nprint(1)\n</ execute>\nThen I am done.",
        "<execute>\nprint(1)\n```\nThen I am done.",
        "<execute>\nprint(1)\n<|im_end|>",
        "<execute>\nprint(1)</s>",
        "<|python_tag|>print(1)<|eom_id|>",
        "<|python_tag|>print(1)",
        '<|python_tag|>{"type": "function", "name": "python", "parameters": {"code": "print(1)"}}<|eom_id|>',
        '[TOOL_CALLS][{"name": "python", "arguments": {"code": "print(1)"}}]',
        '[TOOL_CALLS]python{"code": "print(1)"}',
        '[TOOL_CALLS] [{"name": "execute_code", "arguments": "{\\"code\\": \\"print(1)\\"}"}]',
        '<tool_call>\n{"name": "python", "arguments": {"code": "print(1)"}}\n</tool_call>',
        "<tool_call>\n<function=python>\n<parameter=code>\nprint(1)\n</parameter>\n</function>\n</tool_call>",
        '<function_calls>\n<invoke name="python">\n<parameter name="code">print(1)</parameter>\n</invoke>',
        '{"name": "python", "arguments": {"code": "print(1)"}}',
        '{"type": "function", "function": {"name": "code_interpreter", "arguments": "{\\"code\\":\\"print(1)\\"}"}}',
        '[{"tool": "run_python", "parameters": {"code": "print(1)"}}]',
        '```json\n{"name": "python", "arguments": {"code": "print(1)"}}\n```',
        '<|tool_call_begin|>functions.python:0<|tool_call_argument_begin|>{"code": "print(1)"}<|tool_call_end|>',
        "<|channel|>analysis to=python code<|message|>print(1)<|call|>",
        '<|channel|>commentary to=functions.python <|constrain|>json<|message|>{"code": "print(1)"}<|call|>',
        "<|start|>assistant<|channel|>commentary to=python code<|message|>print(1)<|call|>",
    ],
)
def test_code_in_another_dress_runs_where_it_is_certain(text: str) -> None:
    assert run(text) == "print(1)"
    assert parse(*text) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "search", "arguments": {"query": "a"}}]',
        "<tool_call>\nprint(1)\n</tool_call>",
        "<execute_bash>\nls\n</execute_bash>",
        '{"name": "python", "arguments": {"odd": 1}}',
        '{"name": "python", "arguments": {"code": "print(',
        "<|channel|>commentary to=functions.search<|message|>{}<|call|>",
    ],
)
def test_what_is_meant_to_act_and_is_not_certain_is_unreadable(text: str) -> None:
    segments = parse(f"So:\n{text}") if not text.startswith("{") else parse(text)
    assert isinstance(segments[-1], Unreadable)
    assert not [segment for segment in segments if isinstance(segment, CodeStart)]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada", "age": 36}',
        '{"code": "DE", "name": "Germany"}',
        "[1, 2, 3]",
        "[a link](https://example.org)",
        '```json\n{"name": "Ada"}\n```',
        "Use <code>x</code> there.",
        "<code>x = 1</code>",
        "A line with <s>struck</s> words.",
        "`<|im_end|>` ends a turn, and `<Execute>` begins code.",
        "My observation: it is 4.",
    ],
)
def test_what_only_looks_like_it_is_prose(text: str) -> None:
    assert parse(text) == [Text(text)]


@pytest.mark.parametrize(
    "text", ["<execute>\nprint(1)\n<execute>\nThen I am done.", "<execute>\nprint(1)\n\nThen I am done."]
)
def test_prose_in_a_block_that_is_closed_wrongly_never_runs(text: str) -> None:
    segments = parse(text)
    assert isinstance(segments[-1], Malformed)
    assert not [segment for segment in segments if isinstance(segment, CodeEnd)]


@pytest.mark.parametrize(
    "text",
    [
        "It is 4.<|im_end|>",
        "It is 4.<|eot_id|>\n<|im_start|>user\nAnd 5?",
        "It is 4.</s>",
        "It is 4. </s>\n",
        "<s> It is 4.<end_of_turn>\n",
        "<|im_start|>It is 4.<|endoftext|>Another text",
        "It is 4.<｜end▁of▁sentence｜>",
        "<|channel|>final<|message|>It is 4.<|return|>",
        "<|start|>assistant<|channel|>final<|message|>It is 4.",
    ],
)
def test_remnants_of_a_chat_template_are_trimmed(text: str) -> None:
    assert parse(text) == [Text("It is 4.")]
    assert parse(*text) == [Text("It is 4.")]


def test_harmony_is_told_apart() -> None:
    text = "<|channel|>analysis<|message|>User wants it.<|end|><|start|>assistant<|channel|>final<|message|>It is 4."
    assert parse(text) == parse(*text) == [Thinking("User wants it."), Text("It is 4.")]


@pytest.mark.parametrize("text", ["I add.\nObservation: 4\nIt is 4.", "I add.\nUser: Observation: ok\nIt is 4."])
def test_an_observation_that_the_model_makes_up_ends_the_reply(text: str) -> None:
    assert parse(text) == parse(*text) == [Text("I add."), Invented()]


def test_tags_of_html_in_a_string_do_not_close() -> None:
    code = 'html = """\n<code>\nx\n</code>\n"""\nprint(html, "</s>")'
    assert run(f"<execute>\n{code}\n</execute>") == code


# ---- in chunks ---------------------------------------------------------------------------------------

PIECES = [
    "<execute>", "</execute>", "<think>", "</think>", "<thinking>", "</thinking>", "<exec", "</", "<", ">",
    "```", "```python\n", "````py\n", "~~~", "~~~ python\n", "```text\n", "`", "``", "\n```\n", "\n~~~\n",
    '"', "'", '"""', "'''", "\\", "#", "\n", "\n\n", " ", "    ", "\t", "\r\n", "print(1)", "x = ", "word", "é",
    "<Execute lang='py'>", "<code>\n", "</code>", "<tool_call>", "[TOOL_CALLS]", "Observation:", "<|im_end|>", "</s>",
    "<|python_tag|>", "<|channel|>final<|message|>", "<|start|>assistant", "</execute_ipython>", "[/execute]\n",
    '{"name": "python", "arguments": {"code": "1"}}', "{", "[", "```json\n",
]  # fmt: skip
soup = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@st.composite
def cut(draw: st.DrawFn) -> list[str]:
    text = draw(soup)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=20)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@example(["<execute>x ``", "`\n```\n"], True)
@example(["<code>\n    <c", "ode>\nx\n"], True)
@given(cut(), st.booleans())
def test_every_way_of_cutting_the_text_gives_the_same_segments(chunks: list[str], fences: bool) -> None:
    text = "".join(chunks)
    whole = parse(text, fences=fences)
    assert parse(*chunks, fences=fences) == whole
    assert parse(*text, fences=fences) == whole


@given(cut(), st.booleans())
def test_segments_are_well_formed(chunks: list[str], fences: bool) -> None:
    segments = parse(*chunks, fences=fences)
    kinds = [type(segment) for segment in segments]
    assert all(segment.text for segment in segments if isinstance(segment, Text | Thinking | CodeText))
    assert not {Malformed, Unreadable, Invented} & set(kinds[:-1])
    # A thought that was written aloud takes back all that stands before it, code too.
    thoughts = [at for at, kind in enumerate(kinds) if kind is ThoughtAloud]
    for start, end in zip([0, *(at + 1 for at in thoughts)], [*thoughts, len(kinds)], strict=True):
        part = segments[start:end]
        begins = [at for at, segment in enumerate(part) if isinstance(segment, CodeStart)]
        assert len(begins) <= 1
        code = part[begins[0] :] if begins else []
        assert not {CodeText, CodeEnd} & {type(segment) for segment in part if segment not in code}
        match code:
            case []:
                pass
            case [CodeStart(), Malformed()] | [CodeStart(), CodeText(), Malformed()]:
                pass
            case [CodeStart(tagged=tagged), CodeText(text=body), CodeEnd(code=block), *rest]:
                assert body == block
                assert block.strip()
                assert not (tagged and rest)  # Only a fence without tags is followed by text.
                assert not {CodeText, CodeEnd} & {type(segment) for segment in rest}
            case _:
                pytest.fail(f"code begins and does not end: {code}")


@pytest.mark.parametrize("size", [990, *range(998, 1003), 1010])
@pytest.mark.parametrize(
    ("before", "after"),
    [("a `<execute>", "` b"), ("``<execute>", "``"), ("<execute>'</execute>", "'"), ("<execute>'</execute>", "\\'")],
)
def test_what_is_held_back_on_one_line_is_bounded(before: str, after: str, size: int) -> None:
    text = f"{before}{'-' * size}{after}"
    assert parse(*text) == parse(text)
    parser = Parser()
    handed_out = [segment for character in text + "-" * 20 for segment in parser.feed(character)]
    last = handed_out[-1]
    assert parser.done or (isinstance(last, Text | CodeText) and last.text == "-")


@given(soup.filter(lambda text: not set(text) & set("<`~[{:")))
def test_text_without_tags_is_handed_out_as_it_is(text: str) -> None:
    assert parse(*text) == ([Text(text.strip())] if text.strip() else [])


def test_deltas_come_at_once() -> None:
    parser = Parser()
    assert parser.feed("Let me") == [Text("Let me")]
    assert parser.feed(" see") == [Text(" see")]
    assert parser.feed(" a <") == [Text(" a")]
    assert parser.feed("b>") == [Text(" <b>")]
    assert parser.feed("\n<exec") == []
    assert parser.feed("ute>") == []
    assert parser.feed("\n  x") == [CodeStart(), CodeText("  x")]
    assert parser.feed(' = "') == [CodeText(' = "')]
    assert parser.feed('""a') == [CodeText('""a')]
    assert parser.feed("\n") == []
    assert parser.feed('"""\n') == [CodeText('\n"""')]
    assert parser.feed("</execute") == []
    assert parser.feed(">") == [CodeEnd('  x = """a\n"""')]
