"""The error of the commands, whose message says what to do."""


class NotWrittenError(ValueError):
    """A command cannot do its work. No file was written."""
