"""English words: plurals, singulars and articles for names, and checks of the names of resources and fields."""

import re
from keyword import iskeyword

from kit.scaffolding.errors import NotWrittenError

WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40
"""The maximum length of a name in characters. It keeps lines and the names of constraints short."""
IRREGULAR = {
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "mouse": "mice",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "criterion": "criteria",
    "datum": "data",
    "quiz": "quizzes",
}
UNCHANGED = {"series", "species", "news", "information", "equipment", "sheep", "fish", "software", "feedback", "staff"}
IN_VES = ("leaf", "shelf", "half", "life", "wolf", "knife", "wife", "loaf", "calf", "thief")
IN_OES = ("ero", "potato", "tomato", "echo", "veto")
SINGULAR_IN_S = ("ss", "us", "is", "as", "lens", *UNCHANGED)
"""Endings of singular words with a final s: address, status, basis, canvas."""
SINGULARS = (
    ("lyses", "lysis"),
    ("ies", "y"),
    ("([lo])ves", r"\1f"),
    ("ives", "ife"),
    ("(x|z|ch|sh|ss|ro|to|[^aeo]us)es", r"\1"),
)
"""Endings of plurals, and those of their singulars. Other plurals lose their s. Only used for a hint."""
CONSONANT_SOUND_U = ("uni", "use", "usa", "eu", "one")
"""Beginnings of words with a vowel letter and the article "a": unit, user, one-off."""


def plural_of(name: str) -> str:
    """Return a name with its last word in the plural: `stock_categories` for `stock_category`."""
    before, _, word = name.rpartition("_")
    return f"{before}_{plural_word(word)}" if before else plural_word(word)


def plural_word(word: str) -> str:
    """Return the plural of an English word."""
    if word in IRREGULAR or word in UNCHANGED:
        return IRREGULAR.get(word, word)
    if word.endswith(IN_VES):
        return f"{word.removesuffix('fe').removesuffix('f')}ves"
    if word.endswith("is"):
        return f"{word[:-2]}es"
    if re.search("([^aeiou]|qu)y$", word):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh", *IN_OES)) else f"{word}s"


def singular_of(name: str) -> str | None:
    """Return the singular of a name that looks like a plural; None for other names."""
    before, _, word = name.rpartition("_")
    known = {plural: singular for singular, plural in IRREGULAR.items()}
    if word not in known and (not word.endswith("s") or word.endswith(SINGULAR_IN_S)):
        return None
    ending, singular = next((pair for pair in SINGULARS if re.search(f"{pair[0]}$", word)), ("s", ""))
    found = known.get(word) or re.sub(f"{ending}$", singular, word)
    return f"{before}_{found}" if before else found


def article_of(name: str) -> str:
    is_vowel = name.startswith(("a", "e", "i", "o", "u", "hour", "honour", "heir"))
    return "an" if is_vowel and not name.startswith(CONSONANT_SOUND_U) else "a"


def in_words(name: str) -> str:
    return name.replace("_", " ")


def class_of(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def snake_of(text: str) -> str:
    """Return a name in snake case: `invoice_line` for `InvoiceLine` and `invoice-line`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def check_word(text: str, what: str) -> None:
    """Raise a NotWrittenError for a name that is not in snake case, a keyword, or longer than `LONGEST`.

    `what` says what it is the name of, for the message.
    """
    if not WORD.fullmatch(text):
        written = singular_of(snake_of(text)) if what == "a resource" else None
        written = written or snake_of(text)
        is_name = WORD.fullmatch(written) and not iskeyword(written) and text.isascii()
        hint = f"write {written}" if is_name else "write a name such as invoice_line"
        rule = "small letters of ASCII and digits, with _ between words"
        raise NotWrittenError(f"{text!r} cannot be the name of {what}, which has {rule}: {hint}.")
    if iskeyword(text):
        raise NotWrittenError(f"{text!r} cannot be the name of {what}: it is a keyword of Python.")
    if len(text) > LONGEST:
        raise NotWrittenError(f"{text!r} cannot be the name of {what}: write one of at most {LONGEST} characters.")
