"""The error of the commands in `commands.py`."""


class CommandFailedError(Exception):
    """Raised if a command cannot be carried out. The message is printed, and says what to do."""
