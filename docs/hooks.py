"""What MkDocs lacks for this site: links to files outside of docs/, and drawings that are drawn without a network.

Material would load Mermaid from elsewhere at view time. It takes one that is there already, so pages with drawings get
the copy of the npm package that `web/package-lock.json` pins; it is fetched with the packages of the web page and
stands in no commit.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MERMAID = ROOT / "web" / "node_modules" / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js"
SCRIPT = "assets/javascripts/mermaid.js"
CLASSIC = """<script>
  mermaid.initialize = ((initialize) => (given) => initialize({ ...given, theme: "default", look: "classic" }))(
    mermaid.initialize
  );
</script>"""
"""The theme colours the drawings, for light and dark, by rules that are made for Mermaid's classic look."""
LINK = re.compile(r"(?<=\]\()(?:\.\./)[^)\s#]+")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links to files of the repository outside of docs/ lead to the repository."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def outside(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[0]))
        if path.startswith("docs/") or not (ROOT / path).exists():
            return link[0]  # MkDocs' own: it warns where nothing is there.
        return f"{config.extra['repository']}/blob/main/{path}"

    return LINK.sub(outside, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Puts Mermaid before the theme's script, where the page has drawings."""
    if 'class="mermaid"' not in output:
        return output
    up = "../" * page.url.count("/")
    return output.replace('<script src="', f'<script src="{up}{SCRIPT}"></script>{CLASSIC}<script src="', 1)


def on_post_build(config: Any, **_: Any) -> None:
    for source, place in ((MERMAID, SCRIPT), (ROOT / "web" / "public" / "icon.svg", "assets/icon.svg")):
        target = Path(config.site_dir) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
