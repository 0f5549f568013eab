"""Lets matplotlib in a sandbox image draw Chinese, Japanese and Korean text, if the font's package is installed.

    MPLCONFIGDIR=DIRECTORY python sandbox_fonts.py

Run it once, while the image is built. It writes matplotlib's list of fonts and a matplotlibrc into DIRECTORY.
"""

import dataclasses
import importlib.util
import os
from pathlib import Path

import matplotlib
from matplotlib import font_manager

PACKAGE = "noto_cjk_sans_jp_regular"
FAMILY = "Noto Sans CJK JP"
FONTS = Path("/usr/share/fonts")
ALIASES = (
    *("Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR"),
    *("Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("SimHei", "SimSun", "Microsoft YaHei", "PingFang SC", "Heiti SC", "Heiti TC", "STHeiti", "Arial Unicode MS"),
    *("MS Gothic", "Yu Gothic", "Meiryo", "Hiragino Sans", "IPAexGothic", "IPAGothic", "TakaoPGothic"),
    *("Malgun Gothic", "NanumGothic", "AppleGothic", "UnDotum"),
)
"""Font families that programs choose for such characters. Each becomes an alias of this font."""


def main() -> None:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        # Importing `font_manager` has written the list of fonts.
        return
    FONTS.mkdir(parents=True, exist_ok=True)
    for font in Path(found.origin).parent.glob("*.otf"):
        os.symlink(font, FONTS / font.name)
        font_manager.fontManager.addfont(FONTS / font.name)
    fonts = font_manager.fontManager.ttflist
    [ours] = [entry for entry in fonts if entry.name == FAMILY]
    known = {entry.name for entry in fonts}
    fonts.extend(dataclasses.replace(ours, name=name) for name in ALIASES if name not in known)
    cache = Path(matplotlib.get_cachedir())
    font_manager.json_dump(font_manager.fontManager, cache / f"fontlist-v{font_manager.FontManager.__version__}.json")
    # Matplotlib takes glyphs that the first family lacks from the second.
    (cache / "matplotlibrc").write_text(f"font.family: sans-serif, {FAMILY}\n")


if __name__ == "__main__":
    main()
