"""How a model is told to act, and how its stream becomes prose, reasoning and code: one module for each dialect."""

from codeact.dialect.base import Aside, Dialect, Name, Reader
from codeact.dialect.profiles import dialect_for, learn_no_tools, profile_of

__all__ = ["Aside", "Dialect", "Name", "Reader", "dialect_for", "learn_no_tools", "profile_of"]
