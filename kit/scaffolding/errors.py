"""The error of the generator: a sentence that says what to write instead."""


class NotWrittenError(ValueError):
    """Nothing was written, for the reason that the message gives."""
