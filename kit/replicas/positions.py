"""Positions in the write-ahead log (LSN and timeline), and the SQL that reads them on a primary and on a standby."""

from typing import NamedTuple

PAGE, PAGE_HEADER = 8192, 24
"""The sizes in bytes of a page of the write-ahead log, and of the header of a page."""
NOTICE_PREFIX = "position "
STANDBY_PART = "concat(pg_last_wal_replay_lsn(), ' ', pg_last_wal_receive_lsn())"
PRIMARY_PART = "concat('!', lsn, ' ', left(pg_walfile_name(lsn), 8)) FROM pg_current_wal_insert_lsn() AS lsn"
STATE = f"CASE WHEN pg_is_in_recovery() THEN {STANDBY_PART} ELSE (SELECT {PRIMARY_PART}) END"
"""The SQL of a server's state, as text: of a standby `REPLAYED RECEIVED`, of a primary `!INSERTED TIMELINE`.

On a standby, a snapshot shows a commit shortly before the commit counts as replayed. Therefore the received position is
the upper bound of what it shows. A primary shows a commit after it was inserted into the log.
"""
COLUMN = f"(SELECT {STATE})"
"""The state as a column: a subquery that is executed once, after the snapshot of the statement was taken."""
POSITION_QUERY = f"SELECT {STATE}"
NOTICE = f"DO $$BEGIN RAISE INFO USING MESSAGE = '{NOTICE_PREFIX}' || {COLUMN}; END$$"
"""A command that sends the state as an INFO message. Appended to a COMMIT, its position includes the commit."""


class Position(NamedTuple):
    """A position in the write-ahead log. Positions of different timelines cannot be compared."""

    timeline: int
    lsn: int


UNKNOWN_POSITION = Position(0, 0)
"""The position of a response if it is unknown. No standby has this position, so the next read goes to the primary."""


def number_of(lsn: str) -> int:
    """Return the number of an LSN in PostgreSQL's notation, such as `16/B374D848`; 0 for an empty text.

    If the last record ends at the end of a page, a primary reports the position after the header of the next page. A
    standby reports that only after a further record. Therefore the end of the page is returned instead.
    """
    if not lsn:
        return 0
    high, low = lsn.split("/")
    number = (int(high, 16) << 32) + int(low, 16)
    return number - PAGE_HEADER if number % PAGE == PAGE_HEADER else number
