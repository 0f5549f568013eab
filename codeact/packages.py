"""Selects the installed packages that the system prompt mentions."""

from collections.abc import Iterable

__all__ = ["worth_telling"]

KNOWN = (
    *("numpy", "pandas", "polars", "pyarrow", "duckdb", "dask", "scipy", "statsmodels", "scikit-learn", "xgboost"),
    *("lightgbm", "torch", "tensorflow", "jax", "transformers", "spacy", "nltk", "sympy", "networkx", "numba"),
    *("matplotlib", "seaborn", "plotly", "bokeh", "altair", "folium", "geopandas", "shapely", "pillow"),
    *("opencv-python", "opencv-python-headless", "scikit-image", "imageio", "wordcloud", "openpyxl", "xlsxwriter"),
    *("xlrd", "python-docx", "python-pptx", "pypdf", "pdfplumber", "pymupdf", "reportlab", "beautifulsoup4", "lxml"),
    *("jinja2", "markdown", "pyyaml", "tabulate", "rich", "tqdm", "requests", "httpx", "aiohttp", "sqlalchemy"),
    *("pymongo", "redis", "boto3", "yfinance", "astropy", "biopython", "rdkit", "ortools", "pulp", "cvxpy"),
)
"""In the order in which the prompt mentions them."""


def worth_telling(installed: Iterable[str]) -> tuple[str, ...]:
    """The well-known packages among the installed ones, without dependencies and without what runs the kernel."""
    there = {name.casefold().replace("_", "-") for name in installed}
    return tuple(name for name in KNOWN if name in there)
