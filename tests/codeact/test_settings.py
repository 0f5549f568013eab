"""Settings: values from the environment, and errors in them."""

import pytest

from codeact.errors import ConfigurationError
from codeact.settings import Settings

PRELOAD = "CODEACT_SANDBOX_PRELOAD"


@pytest.mark.parametrize(
    ("value", "modules"),
    [(None, ("numpy", "pandas")), ("", ()), ("scipy.stats, polars ,", ("scipy.stats", "polars"))],
)
def test_modules_that_sandboxes_preload_are_names_with_commas(
    value: str | None, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PRELOAD, raising=False)
    if value is not None:
        monkeypatch.setenv(PRELOAD, value)
    assert Settings.load(model="demo").sandbox_spec.preload == modules


@pytest.mark.parametrize("value", ["numpy;pandas", "numpy pandas", "os.system('x')", ".numpy", "numpy."])
def test_what_is_no_module_s_name_is_refused_by_the_setting_s_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD, value)
    with pytest.raises(ConfigurationError) as error:
        Settings.load(model="demo")
    assert error.value.param == PRELOAD
