"""The observation that a model reads after an execution."""

import base64
import struct
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.observations.observation import kernel_lost, observation
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream
from sandbox_pool.spec import Limits

OK = ExecutionResult(status="ok", duration_s=0.123)
NAME_ERROR = Error("NameError", "name 'x' is not defined", ["Traceback", "\x1b[31mNameError\x1b[0m: no x"])


def displayed(data: dict[str, str]) -> str:
    return observation([DisplayData(data)], OK, limit_chars=1000).splitlines()[-1]


def test_each_kind_of_output_stands_under_its_name() -> None:
    outputs = [
        Stream("stdout", "one\ntwo"),
        Stream("stderr", "careful\n"),
        ExecuteResult({"text/plain": "   a\n0  1", "text/html": "<table></table>"}),
        NAME_ERROR,
    ]
    result = ExecutionResult(status="error", duration_s=1.5, error=NAME_ERROR, error_kind="runtime")
    assert observation(outputs, result, limit_chars=1000) == (
        "Observation: error, 1.50 s\nstdout:\none\ntwo\nstderr:\ncareful\nvalue:\n   a\n0  1\n"
        "traceback:\nTraceback\nNameError: no x"
    )


def test_no_output_is_said() -> None:
    assert observation([], OK, limit_chars=500) == "Observation: ok, 0.12 s\n(no output)"


def test_a_syntax_error_says_that_nothing_ran() -> None:
    error = Error("SyntaxError", "invalid syntax", [])
    result = ExecutionResult(status="error", duration_s=0, error=error, error_kind="syntax")
    assert observation([], result, limit_chars=500) == (
        "Observation: syntax error, nothing ran, 0.00 s\ntraceback:\nSyntaxError: invalid syntax"
    )


def test_a_limit_is_named_and_explained() -> None:
    result = ExecutionResult(status="timeout", duration_s=60, limit="execution_timeout_s", detail="Stopped after 60 s.")
    text = observation([Stream("stdout", "tick\n")], result, limit_chars=500)
    assert text == (
        "Observation: stopped at the time limit, 60.00 s\nLimit reached: execution_timeout_s\n"
        "Stopped after 60 s.\nSplit the work into blocks, or find a faster way.\nstdout:\ntick"
    )


def test_the_model_reads_what_it_can_do_about_each_limit_that_code_can_meet() -> None:
    for limit in fields(Limits):
        if Limits().explain(limit.name) or limit.name in ("execution_timeout_s", "output_bytes"):
            result = ExecutionResult(status="error", duration_s=1, limit=limit.name)
            assert observation([], result, limit_chars=500).count("\n") == 3, limit.name


def test_a_dead_kernel_is_told_with_what_is_gone() -> None:
    result = ExecutionResult(
        status="died", duration_s=2, limit="memory_mb", detail="Out of memory.", kernel_alive=False
    )
    text = observation([], result, limit_chars=500)
    assert text.startswith("Observation: the kernel died, 2.00 s\nLimit reached: memory_mb\nOut of memory.\n")
    assert "variables, imports and files are gone" in text


def test_the_reason_of_a_lost_kernel_is_half_a_sentence() -> None:
    assert kernel_lost("it was idle for 15 minutes.").startswith(
        "The Python kernel was replaced (it was idle for 15 minutes): all earlier variables"
    )


def test_pictures_are_named_with_their_size() -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"\x08").decode()
    assert displayed({"image/png": png, "text/plain": "<Figure>"}) == "[image/png, 640x480, shown to the user]"
    assert displayed({"image/png": "?"}) == "[image/png, shown to the user]"
    shown = DisplayData({"image/jpeg": "…"}, {"image/jpeg": {"width": 3, "height": 4}})
    assert observation([shown], OK, limit_chars=500).endswith("[image/jpeg, 3x4, shown to the user]")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text/plain": "<IPython.core.display.Latex object>", "text/latex": "$x^2$"}, "$x^2$"),
        ({"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "**b**"}, "**b**"),
        (
            {"text/plain": "<IPython.core.display.HTML object>", "text/html": "<style>p {}</style><p>a &lt; b</p>"},
            "a < b",
        ),
        ({"text/plain": "<IPython.core.display.JSON object>", "application/json": {"a": "é"}}, '{"a":"é"}'),
        ({"text/plain": "<Thing object>"}, "<Thing object>"),
        ({"text/plain": "x**2", "text/latex": "$x^2$"}, "x**2"),
        ({"text/html": "<br>"}, "[text/html, shown to the user]"),
        ({"application/pdf": "…"}, "[application/pdf]"),
        ({}, "[nothing]"),
    ],
)
def test_other_rich_values_are_given_as_text(data: dict[str, object], text: str) -> None:
    assert observation([ExecuteResult(data)], OK, limit_chars=500) == f"Observation: ok, 0.12 s\nvalue:\n{text}"


def test_the_end_of_a_traceback_survives_any_amount_of_output() -> None:
    error = Error("ValueError", "last words", [*(f"frame {number}" for number in range(500)), "ValueError: last words"])
    result = ExecutionResult(status="error", duration_s=1, error=error, error_kind="runtime")
    text = observation([Stream("stdout", "first\n" + "x" * 100_000)], result, limit_chars=600)
    assert len(text) <= 600
    assert "stdout:\nfirst\n" in text
    assert "characters cut" in text
    assert "traceback:\nframe 0\n" in text
    assert text.endswith("ValueError: last words")


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=2000)
long_texts = st.one_of(texts, texts.map(lambda text: text * 100))


@given(
    st.lists(
        st.one_of(
            st.builds(Stream, st.sampled_from(["stdout", "stderr"]), long_texts),
            st.builds(ExecuteResult, st.fixed_dictionaries({"text/plain": long_texts})),
        ),
        max_size=4,
    ),
    st.none() | st.builds(Error, texts, texts, st.lists(long_texts, max_size=3)),
    st.sampled_from(["ok", "error", "interrupted", "timeout", "died"]),
    texts,
    st.integers(500, 5000),
)
def test_it_is_never_longer_than_the_limit(
    outputs: list[Stream | ExecuteResult], error: Error | None, status: str, detail: str, limit: int
) -> None:
    result = ExecutionResult(
        status=status,  # type: ignore[arg-type]
        duration_s=12345.678,
        error=error,
        limit="execution_timeout_s",
        detail=detail,
        kernel_alive=status != "died",
        omitted_bytes=10**12,
    )
    text = observation(outputs, result, limit_chars=limit)
    assert len(text) <= limit
    assert text.startswith("Observation: ")


@given(st.integers(1, 20_000), st.integers(500, 3000))
def test_head_and_tail_of_long_output_are_kept(lines: int, limit: int) -> None:
    printed = "".join(f"{number}\n" for number in range(lines))
    text = observation([Stream("stdout", printed)], OK, limit_chars=limit)
    assert text.startswith("Observation: ok, 0.12 s\nstdout:\n0")
    assert text.endswith(f"\n{lines - 1}")
    assert ("characters cut" in text) == (len(printed) + len("Observation: ok, 0.12 s\nstdout:\n") + 2 > limit)


@pytest.mark.parametrize(
    "plain",
    [
        "<__main__.Chart at 0x7f2e000e3150>",
        "<__main__.Chart object at 0x7f2e000e3150>",
        "<pandas.io.formats.style.Styler at 0x7f2e000e3150>",
        "<folium.folium.Map object at 0x7f2e000e3150>",
        "<__main__.make.<locals>.Chart object at 0x7F2E>",
        "<IPython.core.display.HTML object>",
    ],
)
def test_a_value_with_html_and_no_repr_of_its_own_is_told_by_its_html(plain: str) -> None:
    html = "<style>td {color: red}</style><table><tr><td>Sales</td><td>42</td></tr></table>"
    text = observation([ExecuteResult({"text/plain": plain, "text/html": html})], OK, limit_chars=1000)
    assert "Sales 42" in text
    assert "0x" not in text
    assert "color" not in text


def test_nested_progress_bars_are_few_lines() -> None:
    bars = "".join(
        f"\router {outer}" + "".join(f"\n\rinner {inner}\x1b[A" for inner in range(30)) for outer in range(8)
    )
    text = observation([Stream("stdout", "before\n"), Stream("stderr", bars + "\n")], OK, limit_chars=10_000)
    assert "before" in text
    assert len(text.splitlines()) < 7
