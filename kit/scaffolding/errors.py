"""The error of the generator, whose message names the correction."""


class NotWrittenError(ValueError):
    """The resource cannot be generated. No file was written."""
