"""Runs the command line by `python -m codeact`, where the script `codeact` is not on the path."""

from codeact.cli.main import main

main()
