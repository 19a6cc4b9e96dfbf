"""The error of the scaffolding commands."""


class NotWrittenError(ValueError):
    """Raised if a command cannot do its work, before any file is written. The message says what to do."""
