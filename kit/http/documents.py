"""JSON documents: a strict parser that bounds the number of values, and normalises text to NFC."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, NoReturn
from unicodedata import is_normalized

from kit.http.encoding import TooManyMarksError, composed, refuse_many_marks
from kit.http.numbers import NumberRangeError, bounded_float, written_number
from kit.http.problems import MAX_ERRORS, Problem, error, fragment, invalid, malformed, too_large

MAX_VALUES = 40_000
"""The maximum number of values in a document. Parsing and validating that many takes less than 0.1 s."""
MAX_DEPTH = 1000
"""Beyond this depth, a document with too many values is refused as too deep (400). Python's own limit is similar."""
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
NO_BRACKETS = bytes(set(range(256)) - STEPS.keys())
MAX_DIGITS = 4300
"""The maximum number of digits of an integer, which is Python's own limit."""
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A string in a document, also one that the document does not end."""


def parse(body: bytes, max_values: int = MAX_VALUES, *, keeps_digits: bool = False) -> Any:
    """Return the value of a document in UTF-8, with or without a byte-order mark.

    `keeps_digits`: numbers with more digits than a float keeps are `WrittenNumber`s. Raises a 413 for too many values,
    a 422 for numbers beyond the range of floats and text with too many combining marks in a row, and a 400 for wrong
    syntax or encoding, too deep nesting, duplicate keys, and integers with too many digits.
    """
    if len(body) > max_values:  # a value takes at least a byte
        refuse_many_values(body, max_values)
    try:
        text = body.decode("utf-8-sig")
        value = decoded(text, WRITTEN if keeps_digits else PLAIN)
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


def decoded(text: str, decoder: json.JSONDecoder) -> Any:
    """Return the value of a document. Raises a 422 that points at the first numbers beyond the range of floats."""
    try:
        return decoder.decode(text)
    except NumberRangeError as failure:
        places = islice(places_beyond_range(LOCATING.decode(text)), MAX_ERRORS)
        errors = [error("body", fragment(place), str(failure), "number_range") for place in places]
        raise invalid(errors) from failure


BEYOND_RANGE = object()
"""The value of `LOCATING` for a number beyond the range of floats."""


def _float_or_mark(text: str) -> object:
    try:
        return bounded_float(text)
    except NumberRangeError:
        return BEYOND_RANGE


def places_beyond_range(value: Any) -> Iterator[tuple[int | str, ...]]:
    """Yield the paths of the numbers beyond the range of floats in a value of `LOCATING`."""
    if value is BEYOND_RANGE:
        yield ()
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from ((name, *place) for place in places_beyond_range(part))


def refuse_many_values(body: bytes, limit: int) -> None:
    """Raise a 413 for a document with more than `limit` values, or a 400 if it is nested too deeply too.

    It is called before the document is parsed, and counts the characters `,`, `[` and `{`, one of which precedes each
    value. The first, fast count includes those in strings. If it is too high, they are counted again without strings.
    """
    if values_of(body) <= limit:
        return
    without_text = TEXT.sub(b"", body)
    if values_of(without_text) > limit:
        raise too_deep() if depth_of(without_text) > MAX_DEPTH else too_large(limit, "values")


def values_of(body: bytes) -> int:
    """Return an upper bound of the number of values in a document."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def depth_of(body: bytes) -> int:
    """Return the maximum depth among the first `MAX_VALUES` brackets of a document without strings."""
    brackets = body.translate(None, NO_BRACKETS)[:MAX_VALUES]
    return max(accumulate(map(STEPS.__getitem__, brackets)), default=0)


def too_deep() -> Problem:
    return malformed("The body is nested too deeply.")


def is_composed(document: str) -> bool:
    """Return whether all text of a document is in NFC. False if it has `\\u` escapes, which may be any text."""
    if document.isascii():
        return "\\u" not in document
    refuse_many_marks(document)
    return "\\u" not in document and is_normalized("NFC", document)


def compose(value: Any) -> Any:
    """Return a value with all its strings and names of members in NFC."""
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


def _decoder(parse_float: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=_refuse_constant, parse_float=parse_float, object_pairs_hook=_without_duplicates
    )


PLAIN, WRITTEN, LOCATING = map(_decoder, (bounded_float, written_number, _float_or_mark))
"""The decoders of all requests. Constructing one takes as long as parsing a body."""
