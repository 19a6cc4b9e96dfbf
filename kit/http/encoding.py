"""Encoding: JSON with times in UTC with a Z (RFC 3339), decimals and UUIDs as strings; text in the form NFC."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple
from unicodedata import combining, decomposition, normalize
from uuid import UUID

import orjson

MAX_MARKS = 30
"""The largest number of combining marks in a row: more than any language needs (Unicode Standard Annex 15, section 13).

Python puts them in order in quadratic time: 1 MiB of them would take minutes.
"""
STEP, IN_A_ROW = 4, 7
"""A row of more than `MAX_MARKS` marks has at least `IN_A_ROW` marks among every `STEP`-th character."""


class TooManyMarksError(ValueError):
    """Raised for text that takes too long to be normalised."""

    def __init__(self) -> None:
        super().__init__(f"Text may have at most {MAX_MARKS} combining marks in a row")


def composed(text: str) -> str:
    """Return the text in Unicode's form NFC, in which the service keeps all text (RFC 5198).

    Raises a `TooManyMarksError` for more than `MAX_MARKS` combining marks in a row.
    """
    if text.isascii():
        return text
    refuse_many_marks(text)
    return normalize("NFC", text)


def refuse_many_marks(text: str) -> None:
    """Raise a `TooManyMarksError` for more than `MAX_MARKS` combining marks in a row.

    Only a part of the characters is examined, and the others where these are marks.
    """
    if len(text) > MAX_MARKS:
        marks = patterns()
        for found in marks.perhaps.finditer(text[::STEP]):
            part = text[max(0, (found.start() - 1) * STEP) : found.end() * STEP]
            if marks.near_row.search(part) or (marks.far.search(part) and marks.row.search(part)):
                raise TooManyMarksError


class Patterns(NamedTuple):
    """What rows of combining marks are found by."""

    perhaps: re.Pattern[str]
    """Among every `STEP`-th character: where more than `MAX_MARKS` marks may be in a row."""
    near_row: re.Pattern[str]
    far: re.Pattern[str]
    """Characters that make a class slow, so that the others are searched first."""
    row: re.Pattern[str]


@cache
def patterns() -> Patterns:
    """Return the patterns, made once in 15 ms: by a service at start, and not in programs that import it only."""
    marks = marks_of_unicode()
    near, far = "".join(mark for mark in marks if mark < "\U00010000"), "\U00010000-\U0010ffff"
    return Patterns(
        perhaps=re.compile(f"[{near}{far}]{{{IN_A_ROW},}}"),
        near_row=re.compile(f"[{near}]{{{MAX_MARKS + 1}}}"),
        far=re.compile(f"[{far}]"),
        row=re.compile(f"[{marks}]{{{MAX_MARKS + 1}}}"),
    )


BLOCKS = ((0x300, 0x3400), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xF900, 0x17000), (0x18D00, 0x20000))
"""The characters of the first two planes, without ideographs, Hangul syllables and private ones: none is a mark."""


def marks_of_unicode() -> str:
    """Return the characters that normalisation may move: combining marks, and those that consist of them."""
    characters = [chr(code) for block in BLOCKS for code in range(*block)]
    decomposed = filter(decomposition, characters)  # few: the others are their own decomposition
    composite = [mark for mark in decomposed if combining(normalize("NFD", mark)[0])]
    return "".join(sorted({*filter(combining, characters), *composite}))


def as_text(value: object) -> str:
    """Return a decimal or UUID as text, for values that orjson cannot encode. Raises a TypeError for other types."""
    if isinstance(value, Decimal):
        return format(value, "f")  # without an exponent
    if isinstance(value, UUID):  # asyncpg's UUIDs are a subclass, which orjson does not encode
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=as_text, option=orjson.OPT_UTC_Z)
