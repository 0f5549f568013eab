"""Exports conversations as notebooks, Markdown and archives, and imports archives."""

from codeact.exports.archive import Archive, ArchivedResponse, archive_pieces, read_archive
from codeact.exports.markdown import markdown
from codeact.exports.notebook import notebook

__all__ = ["Archive", "ArchivedResponse", "archive_pieces", "markdown", "notebook", "read_archive"]
