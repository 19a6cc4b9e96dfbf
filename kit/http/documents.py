"""JSON documents: parsed strictly, with a bounded number of values, and with their text in the form NFC."""

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NoReturn
from unicodedata import is_normalized

from kit.http.encoding import TooManyMarksError, composed, refuse_many_marks
from kit.http.problems import Problem, error, invalid, malformed, too_large

MAX_VALUES = 40_000
"""The largest number of values of a document: parsing and validating so many takes less than 0.1 s."""
MAX_DEPTH = 1000
"""The depth from which a document with too many values is refused as too deep; Python's own limit is similar."""
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
NO_BRACKETS = bytes(set(range(256)) - STEPS.keys())
MAX_DIGITS = 4300
"""The largest number of digits of an integer: Python's own limit."""
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A text of a document, or its beginning if the document ends in it."""


def parse(body: bytes, max_values: int = MAX_VALUES) -> Any:
    """Parse a document. Raises a 413 for too many values, and a 422 for text with too many combining marks in a row.

    Raises a 400 for wrong syntax or encoding, too deep nesting, and duplicate keys.
    """
    if len(body) > max_values:  # a value takes at least a byte
        refuse_many_values(body, max_values)
    try:
        text = body.decode("utf-8-sig")
        value = DECODER.decode(text)
        return value if is_composed(text) else compose(value)
    except UnicodeDecodeError as failure:
        raise malformed("The body is not UTF-8.") from failure
    except json.JSONDecodeError as failure:
        raise malformed(f"The body is not JSON: {failure.msg} at character {failure.pos}.") from failure
    except RecursionError as failure:
        raise too_deep() from failure
    except TooManyMarksError as failure:
        raise invalid([error("body", "#", str(failure), "combining_marks")]) from failure
    except ValueError as failure:
        raise malformed(f"The body has a number with more than {MAX_DIGITS} digits.") from failure


def refuse_many_values(body: bytes, limit: int) -> None:
    """Raise a 413 for a document with more values than this, before it is parsed.

    Each value follows a comma or begins an array, an object or the document. Marks within text are counted at first,
    which is fast; only if these are too many, the text is left out.
    """
    if values_of(body) <= limit:
        return
    without_text = TEXT.sub(b"", body)
    if values_of(without_text) > limit:
        raise too_deep() if depth_of(without_text) > MAX_DEPTH else too_large(limit, "values")


def values_of(body: bytes) -> int:
    """Return an upper bound of the number of values of a document."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def depth_of(body: bytes) -> int:
    """Return the depth of nesting at the beginning of a document without text."""
    brackets = body.translate(None, NO_BRACKETS)[:MAX_VALUES]
    return max(accumulate(map(STEPS.__getitem__, brackets)), default=0)


def too_deep() -> Problem:
    return malformed("The body is nested too deeply.")


def is_composed(document: str) -> bool:
    """Return whether all text of a document is in the form NFC, and no escape hides other text."""
    if document.isascii():
        return "\\u" not in document
    refuse_many_marks(document)
    return "\\u" not in document and is_normalized("NFC", document)


def compose(value: Any) -> Any:
    """Return the same value with its texts, and the names of members, in the form NFC."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, list):
        return [compose(part) for part in value]
    if isinstance(value, dict):
        return _without_duplicates([(composed(name), compose(part)) for name, part in value.items()])
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON.")


def _without_duplicates(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        raise malformed("An object has a key twice.")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
"""Shared by all requests: constructing a decoder takes as long as parsing a body."""
