"""Case folding for searches: the same result in Python and SQLite (`fold`) and in PostgreSQL (`search_sql.folded`).

Folded text is lower case. Further, some letters are replaced that `lower` does not unify, or that ICU and PostgreSQL's
builtin provider convert differently: the final sigma, the dotted I, ß and ẞ (by ss), the long s, and the micro sign.
"""

BEFORE = {"İ": "i", "ẞ": "ß"}
"""The letters that are replaced before the conversion to lower case."""
AFTER = {"ς": "σ", "ß": "ss", "ſ": "s", "µ": "μ"}
"""The letters that are replaced after it. At the end of a word, ICU and Python convert Σ to the final sigma ς."""
UNUSUAL = (*BEFORE, "Σ", *AFTER)
"""The letters for which `lower` is not enough, so that texts without them can be folded by it alone."""
BEFORE_TABLE, AFTER_TABLE = str.maketrans(BEFORE), str.maketrans(AFTER)


def fold(text: str | None) -> str | None:
    """Return the case-folded text. SQLite calls this as the SQL function `fold`: its `lower` converts only ASCII."""
    if not text or text.isascii():
        return text and text.lower()
    return text.translate(BEFORE_TABLE).lower().translate(AFTER_TABLE)


EXPANDED = {"ß": "ss", "ẞ": "ss"}
"""The letters that folding replaces by two letters."""
RARE = {"i": "İ", "k": "\u212a", "s": "ſ", "å": "\u212b", "θ": "ϴ", "μ": "µ", "σ": "ς", "ω": "\u2126"}
"""Further forms of letters that `upper` and `title` do not return, such as the Kelvin sign or the final sigma."""


def forms(letter: str) -> str:
    """Return all characters that `fold` converts to this letter, the letter included."""
    some = dict.fromkeys((letter, letter.upper(), letter.title(), RARE.get(letter, letter)))
    return "".join(form for form in some if len(form) == 1 and fold(form) == letter)


def glob_of(folded: str) -> str:
    """Return a pattern of SQLite's GLOB for texts that contain `folded`, a folded text, in any case.

    In the text to search, the letters of `EXPANDED` must have been replaced.
    """
    return f"*{''.join(map(_class_of, folded))}*"


def _class_of(letter: str) -> str:
    found = forms(letter)
    return f"[{found}]" if len(found) > 1 or letter in "*?[" else found
