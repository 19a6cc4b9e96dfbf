"""Search letters: letters that FTS5 (the search index of SQLite) cannot find, or folds in another way than the kit."""

from collections.abc import Callable
from contextlib import closing
from functools import cache
from sqlite3 import connect
from typing import NamedTuple

from kit.database.folding import fold
from kit.database.search_sql import END, expanded

UNKNOWN = frozenset(f"{END}\ufffe\uffff\U0010ffff")
"""The characters that FTS5 does not find: `END`, those that it replaces by U+FFFD, and the last of Unicode."""
INEXACT = UNKNOWN | {"\ufffd"}
CASED = (*range(0x80, 0x2E00), *range(0xA640, 0xAC00), *range(0xFB00, 0xFB18), *range(0xFF21, 0xFF5B),
         *range(0x10400, 0x10600), *range(0x10C80, 0x10D00), *range(0x118A0, 0x11900), *range(0x16E40, 0x16F00),
         *range(0x1E900, 0x1EA00))  # fmt: skip
"""The code points of the Unicode blocks with upper and lower case letters."""


def is_known_in(substring: str) -> Callable[[str], bool]:
    """Return a function that tells whether FTS5 finds a letter of the folded text `substring`."""
    missed = UNKNOWN if substring.isascii() else UNKNOWN | other_letters().missed
    return lambda letter: letter not in missed


def is_exact(substring: str) -> bool:
    """Return whether FTS5 finds exactly the texts that contain `substring`, a folded text."""
    if substring.isascii():
        return END not in substring
    return INEXACT.isdisjoint(substring) and not any(
        letter in letters for letters in other_letters() for letter in substring
    )


class OtherLetters(NamedTuple):
    """The letters that FTS5 folds differently from `fold`: it uses Unicode 6.1, and treats Greek symbols as letters."""

    missed: frozenset[str]
    """Letters that FTS5 may not find."""
    merged: frozenset[str]
    """Letters for which FTS5 also finds other letters."""


@cache
def other_letters() -> OtherLetters:
    """Compare the tokenizer of this SQLite library with `fold` for all letters with case, once, in about 20 ms."""
    letters = [letter for letter in map(chr, CASED) if letter.upper() != letter or letter.lower() != letter]
    with closing(connect(":memory:")) as connection:
        connection.execute('CREATE VIRTUAL TABLE one USING fts5(letter, tokenize = "trigram")')
        connection.execute("CREATE VIRTUAL TABLE term USING fts5vocab(one, instance)")
        insert = f"INSERT INTO one (rowid, letter) VALUES (?1, {expanded('?2')} || '--')"  # noqa: S608  a constant
        connection.executemany(insert, [(ord(letter), letter) for letter in letters])
        terms = connection.execute('SELECT doc, term FROM term WHERE "offset" = 0').fetchall()
    pairs = [(str(fold(chr(code))), term.rstrip("-")) for code, term in terms]
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    return OtherLetters(*(frozenset("".join(pair[side] for pair in differing)) for side in (0, 1)))
