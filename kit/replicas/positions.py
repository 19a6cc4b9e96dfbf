"""Positions in the write-ahead log, and the SQL that reads them on a primary and on a standby."""

from typing import NamedTuple

PAGE, PAGE_HEADER = 8192, 24
"""The sizes, in bytes, of a page of the write-ahead log and of its header."""
NOTICE_PREFIX = "position "
STANDBY_PART = "concat(pg_last_wal_replay_lsn(), ' ', pg_last_wal_receive_lsn())"
PRIMARY_PART = "concat('!', lsn, ' ', left(pg_walfile_name(lsn), 8)) FROM pg_current_wal_insert_lsn() AS lsn"
STATE = f"CASE WHEN pg_is_in_recovery() THEN {STANDBY_PART} ELSE (SELECT {PRIMARY_PART}) END"
"""On a standby what it has replayed, and received; on a primary `!`, what it has written, and its timeline.

A snapshot shows a commit a moment before the commit counts as replayed, so what it shows is bounded by what was
received. A primary shows a commit after it was written.
"""
COLUMN = f"(SELECT {STATE})"
"""The state as a column that is read once for all rows, after the snapshot of the statement."""
POSITION_QUERY = f"SELECT {STATE}"
NOTICE = f"DO $$BEGIN RAISE INFO USING MESSAGE = '{NOTICE_PREFIX}' || {COLUMN}; END$$"
"""Sends the state as a message. Sent after a COMMIT, in the same round trip, it covers the commit."""


class Position(NamedTuple):
    """A position in the write-ahead log. Those of different timelines cannot be compared."""

    timeline: int
    lsn: int


UNKNOWN_POSITION = Position(0, 0)
"""The position of a response if it is unknown. No standby has it, so the next read goes to the primary."""


def number_of(lsn: str) -> int:
    """Return the number of an LSN as PostgreSQL writes it, as in `16/B374D848`; 0 for an empty text.

    After a record that ends with its page, PostgreSQL returns the position behind the next page's header. A standby
    reports that position only after another record, so the end of the page is returned.
    """
    if not lsn:
        return 0
    high, low = lsn.split("/")
    number = (int(high, 16) << 32) + int(low, 16)
    return number - PAGE_HEADER if number % PAGE == PAGE_HEADER else number
