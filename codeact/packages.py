"""Chooses which installed packages the model is told of: those that it would not expect."""

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
"""In the order in which they are told."""


def worth_telling(installed: Iterable[str]) -> tuple[str, ...]:
    """The packages that people know by name, without their dependencies and without what runs the kernel."""
    there = {name.casefold().replace("_", "-") for name in installed}
    return tuple(name for name in KNOWN if name in there)
