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


EXPANDED = {"ß": "ss", "ẞ": "ss"}
"""The letters that folding replaces by several."""
RARE = {"i": "İ", "k": "\u212a", "s": "ſ", "å": "\u212b", "θ": "ϴ", "μ": "µ", "σ": "ς", "ω": "\u2126"}
"""Letters with a further form that `upper` and `title` do not return: as the Kelvin sign, or the final sigma."""


def forms(letter: str) -> str:
    """Return all characters that fold to this one."""
    some = dict.fromkeys((letter, letter.upper(), letter.title(), RARE.get(letter, letter)))
    return "".join(form for form in some if len(form) == 1 and fold(form) == letter)


def glob_of(folded: str) -> str:
    """Return the pattern of SQLite's GLOB for texts that contain this one, ignoring case.

    Before a text is compared, the letters of `EXPANDED` must be replaced in it.
    """
    return f"*{''.join(map(_class_of, folded))}*"


def _class_of(letter: str) -> str:
    found = forms(letter)
    return f"[{found}]" if len(found) > 1 or letter in "*?[" else found
