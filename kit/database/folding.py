"""Case folding: the same text for all forms of a letter, in SQLite and Python, and for expressions of PostgreSQL.

It is lower case, and further one form for letters that `lower` keeps apart, or converts differently in ICU and in
PostgreSQL's own provider: the final sigma, the dotted I, ß and ẞ as ss, the long s, and the micro sign.
"""

BEFORE = {"İ": "i", "ẞ": "ß"}
"""Replaced before the conversion to lower case."""
AFTER = {"ς": "σ", "ß": "ss", "ſ": "s", "µ": "μ"}
"""Replaced after it. ICU and Python make a final sigma of a capital one at the end of a word."""
UNUSUAL = (*BEFORE, "Σ", *AFTER)
"""The letters of texts for which lower case is not enough."""
BEFORE_TABLE, AFTER_TABLE = str.maketrans(BEFORE), str.maketrans(AFTER)


def fold(text: str | None) -> str | None:
    """Return the text without distinctions of case. SQLite calls this; its own `lower` converts ASCII only."""
    if not text or text.isascii():
        return text and text.lower()
    return text.translate(BEFORE_TABLE).lower().translate(AFTER_TABLE)
