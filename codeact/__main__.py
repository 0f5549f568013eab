"""Runs the command line with `python -m codeact`, for when the script `codeact` is not on the path."""

from codeact.cli.main import main

main()
