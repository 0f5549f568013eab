"""Prompts for models, and parsers that split their replies into prose, reasoning and code; a module per dialect."""

from codeact.dialect.base import Aside, Dialect, Name, Reader
from codeact.dialect.profiles import dialect_for, learn_no_tools, profile_of

__all__ = ["Aside", "Dialect", "Name", "Reader", "dialect_for", "learn_no_tools", "profile_of"]
