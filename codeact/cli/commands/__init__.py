"""The commands of the command line: each takes checked arguments and returns an exit code."""
