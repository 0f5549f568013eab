"""The commands of the command line: checked arguments enter, an exit code leaves."""
