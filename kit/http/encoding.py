"""Encoding: `to_json`, with times in UTC with a Z (RFC 3339), and decimals as strings; and text in the form NFC."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple
from unicodedata import combining, decomposition, normalize
from uuid import UUID

import orjson

MAX_MARKS = 30
"""The maximum number of combining marks in a row. No language needs more (Unicode Standard Annex 15, section 13).

Python's normalisation sorts them in quadratic time: 1 MiB of them would take minutes.
"""
STEP, IN_A_ROW = 4, 7
"""Among every `STEP`-th character of a row of more than `MAX_MARKS` marks, there are at least `IN_A_ROW` marks."""


class TooManyMarksError(ValueError):
    """Raised for text with more than `MAX_MARKS` combining marks in a row, which would take too long to normalise."""

    def __init__(self) -> None:
        super().__init__(f"Text may have at most {MAX_MARKS} combining marks in a row")


def composed(text: str) -> str:
    """Return the text in Unicode's normalisation form NFC, in which the service stores all text (RFC 5198).

    Raises a `TooManyMarksError` for more than `MAX_MARKS` combining marks in a row.
    """
    if text.isascii():
        return text
    refuse_many_marks(text)
    return normalize("NFC", text)


def refuse_many_marks(text: str) -> None:
    """Raise a `TooManyMarksError` for more than `MAX_MARKS` combining marks in a row.

    First it examines every `STEP`-th character, and then all characters in the places where these are marks.
    """
    if len(text) > MAX_MARKS:
        marks = patterns()
        for found in marks.perhaps.finditer(text[::STEP]):
            part = text[max(0, (found.start() - 1) * STEP) : found.end() * STEP]
            if marks.near_row.search(part) or (marks.far.search(part) and marks.row.search(part)):
                raise TooManyMarksError


class Patterns(NamedTuple):
    """The patterns that find rows of combining marks."""

    perhaps: re.Pattern[str]
    """Finds `IN_A_ROW` marks, in every `STEP`-th character of a text."""
    near_row: re.Pattern[str]
    far: re.Pattern[str]
    """Characters beyond the first plane. With them a character class is slow, so `near_row` is without them."""
    row: re.Pattern[str]


@cache
def patterns() -> Patterns:
    """Return the patterns. Compiling them takes 15 ms, so it is done at the first call and not at import."""
    marks = marks_of_unicode()
    near, far = "".join(mark for mark in marks if mark < "\U00010000"), "\U00010000-\U0010ffff"
    return Patterns(
        perhaps=re.compile(f"[{near}{far}]{{{IN_A_ROW},}}"),
        near_row=re.compile(f"[{near}]{{{MAX_MARKS + 1}}}"),
        far=re.compile(f"[{far}]"),
        row=re.compile(f"[{marks}]{{{MAX_MARKS + 1}}}"),
    )


BLOCKS = ((0x300, 0x3400), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xF900, 0x17000), (0x18D00, 0x20000))
"""The ranges of Unicode that may contain marks: without ideographs, Hangul syllables and private characters."""


def marks_of_unicode() -> str:
    """Return the characters that normalisation may reorder: combining marks, and those that decompose to marks."""
    characters = (chr(code) for block in BLOCKS for code in range(*block))
    return "".join(filter(is_mark, characters))


def is_mark(character: str) -> bool:
    decomposed = character if combining(character) else decomposition(character) and normalize("NFD", character)
    return bool(decomposed and combining(decomposed[0]))


def encodable(value: object) -> str | float:
    """Return a value that orjson cannot encode as one that it can. Raises a TypeError for other types.

    These are decimals, asyncpg's UUIDs, and subclasses of floats.
    """
    if isinstance(value, Decimal):
        return format(value, "f")  # without an exponent
    if isinstance(value, UUID):  # asyncpg's UUIDs are a subclass, which orjson does not encode
        return str(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=encodable, option=orjson.OPT_UTC_Z)
