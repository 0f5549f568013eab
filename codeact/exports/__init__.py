"""Conversations as files: stored responses enter; notebooks, Markdown and archives leave, and archives come back."""

from codeact.exports.archive import Archive, ArchivedResponse, archive_pieces, read_archive
from codeact.exports.markdown import markdown
from codeact.exports.notebook import notebook

__all__ = ["Archive", "ArchivedResponse", "archive_pieces", "markdown", "notebook", "read_archive"]
