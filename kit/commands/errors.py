"""The error of a command, whose message says what to do."""


class CommandFailedError(Exception):
    """The command cannot be carried out."""
