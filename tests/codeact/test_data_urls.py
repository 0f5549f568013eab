"""One module parses and builds `data:` URLs."""

import pytest

from codeact.data_urls import DataUrl, data_url, image_of, split_data_url


def test_what_is_written_is_read_again() -> None:
    assert split_data_url(data_url("text/csv", b"a,b\n")) == DataUrl("text/csv", "YSxiCg==")


def test_parameters_of_the_type_are_left_out() -> None:
    assert split_data_url("data:text/plain;charset=utf-8;base64,YQ==") == DataUrl("text/plain", "YQ==")


@pytest.mark.parametrize("text", ["", "YQ==", "data:,a", "data:text/plain,a", "data:;base64,YQ==", "https://a/b"])
def test_other_texts_are_no_such_url(text: str) -> None:
    assert split_data_url(text) is None


@pytest.mark.parametrize(
    ("text", "is_image"),
    [
        ("data:image/png;base64,YQ==", True),
        ("data:image/svg+xml;base64,YQ==", True),
        ("data:image/png;a=b;base64,YQ==", False),
        ("data:IMAGE/png;base64,YQ==", False),
        ("data:text/html;base64,YQ==", False),
    ],
)
def test_an_image_is_one_that_we_would_write(text: str, is_image: bool) -> None:
    assert (image_of(text) is not None) is is_image
