"""Adapts libraries when the code imports them: matplotlib shows its figures, pandas accepts any text.

It imports no library itself. `kernel_main.py` imports it inside of a sandbox.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import functools
import sys
from importlib.machinery import PathFinder

__all__ = ["adapt_libraries"]

INLINE = "module://matplotlib_inline.backend_inline"
OTHERS = {
    *("agg", "cairo", "pdf", "pgf", "ps", "svg", "template", "macosx", "osx", "auto", "nbagg", "notebook", "webagg"),
    *("gtk", "gtk3", "gtk4", "gtk3agg", "gtk3cairo", "gtk4agg", "gtk4cairo", "tk", "tkagg", "tkcairo"),
    *("qt", "qt4", "qt5", "qt6", "qtagg", "qtcairo", "qt4agg", "qt5agg", "qt5cairo", "wx", "wxagg", "wxcairo"),
    *("widget", "ipympl", "module://ipympl.backend_nbagg", "module://matplotlib.backends.backend_agg"),
}
"""Backends that are replaced by the inline one, which shows figures. `savefig` still writes every format."""
WIDE_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic", "NanumGothic"),
    *("Arial Unicode MS", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo"),
)
"""Fonts with Chinese, Japanese and Korean. The first one that is installed is used for characters others lack."""


class Changes:
    """An import hook that calls a function with a module once the module has been loaded. Maps names to functions."""

    def __init__(self, changes):
        self._changes = changes

    def find_spec(self, name, path=None, target=None):
        change = self._changes.get(name)
        spec = PathFinder.find_spec(name, path, target) if change is not None else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            change(module)

        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010
        return spec


def adapt_libraries(shell):
    changes = {
        "matplotlib.pyplot": show_always,
        "matplotlib.backend_bases": show_one,
        "matplotlib.figure": functools.partial(show_values, shell),
        "matplotlib.font_manager": write_all_scripts,
        "pandas": hold_any_text,
    }
    sys.meta_path.insert(0, Changes(changes))


def hold_any_text(pandas):
    """Makes pandas store strings as Python objects. Arrow would refuse file names that are not UTF-8."""
    with contextlib.suppress(Exception):
        pandas.set_option("mode.string_storage", "python")


def show_always(pyplot):
    switch = pyplot.switch_backend

    @functools.wraps(switch)
    def switch_backend(newbackend):
        # A value that is not a string asks matplotlib to choose a backend.
        if not isinstance(newbackend, str) or newbackend.casefold() in OTHERS:
            newbackend = INLINE
        return switch(newbackend)

    pyplot.switch_backend = switch_backend


def show_one(backend_bases):
    """Makes `figure.show()` show the figure at once, and not again at the end of the block."""

    def show(manager):
        from IPython.display import display
        from matplotlib._pylab_helpers import Gcf

        display(manager.canvas.figure)
        Gcf.destroy(manager)

    backend_bases.FigureManagerBase.show = show


def show_values(shell, figure):
    """Shows a figure that was created without pyplot as a picture when it is the value of an expression."""
    from IPython.core.pylabtools import print_figure

    png = shell.display_formatter.formatters["image/png"]
    if figure.Figure not in png.type_printers:
        png.for_type(figure.Figure, functools.partial(print_figure, fmt="png", base64=True))


def write_all_scripts(font_manager):
    find = font_manager.FontManager._find_fonts_by_props

    @functools.wraps(find)
    def find_with_wide(self, prop, fontext="ttf", *args, **kwargs):
        paths = find(self, prop, fontext, *args, **kwargs)
        wide = wide_font(self) if fontext == "ttf" else None
        return paths if wide is None or wide in paths else [*paths, wide]

    @functools.cache
    def wide_font(manager):
        there = {entry.name for entry in manager.ttflist}
        family = next((name for name in WIDE_FONTS if name in there), None)
        return family and manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)

    font_manager.FontManager._find_fonts_by_props = find_with_wide
