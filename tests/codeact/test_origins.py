"""Origins in settings must be exactly as browsers send them; otherwise the error says what to write."""

import pytest

from codeact.errors import ConfigurationError
from codeact.origins import exact_origin
from codeact.settings import Settings


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "http://localhost:3000",
        "https://shop.example:8443",
        "http://[::1]:8000",
        "http://192.0.2.7",
        "https://xn--bcher-kva.example",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_an_exact_origin_is_taken_as_it_is(origin: str) -> None:
    assert exact_origin(origin) == origin


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://shop.example/", "write https://shop.example"),
        ("https://shop.example/chat", "write https://shop.example"),
        ("https://Shop.example", "write https://shop.example"),
        ("https://shop.example:443", "write https://shop.example"),
        ("http://localhost:80", "write http://localhost"),
        ("https://me:secret@shop.example", "write https://shop.example"),
        ("https://*.shop.example", "wildcards are not taken"),
        ("*", "wildcards are not taken"),
        ("shop.example", "it must begin with https://"),
        ("null", "it must begin with https://"),
        ("ftp://shop.example", "it must begin with https://"),
        ("https://", "it must begin with https://"),
        ("https://shop.example:x", "is no exact origin"),
        ("https://shop.example; script-src", "ASCII"),
        ("https://shop.example 'self'", "ASCII"),
        ("https://bücher.example", "punycode"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="is no exact origin") as refused:
        exact_origin(text)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["embed_origins", "allowed_origins"])
def test_the_setting_is_named_with_the_origin_that_is_wrong(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(**{name: "https://shop.example, https://other.example/path"})
    assert refused.value.message == (
        f"CODEACT_{name.upper()} is not valid: 'https://other.example/path' is no exact origin such as"
        " https://shop.example or http://localhost:3000: write https://other.example."
    )


def test_anonymous_use_is_refused_without_its_quotas_by_name() -> None:
    given = {"embed_anonymous": True}
    for name, value in (
        ("embed_origins", "https://shop.example"),
        ("embed_anonymous_sessions_per_minute", 10),
        ("embed_anonymous_responses_per_minute", 5),
        ("embed_anonymous_tokens_per_day", 1000),
        ("embed_anonymous_tokens_per_day_in_all", 10_000),
    ):
        with pytest.raises(ConfigurationError) as refused:
            Settings.load(**given)
        assert refused.value.param == f"CODEACT_{name.upper()}"
        assert f"needs CODEACT_{name.upper()}" in refused.value.message
        given[name] = value  # type: ignore[assignment]
    assert Settings.load(**given).embed_anonymous
