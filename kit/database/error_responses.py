"""Responses to database errors: the problem (RFC 9457) and the log line for each meaning of a failure."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm.exc import StaleDataError

from kit.database.absent import absent_column, absent_table, notice
from kit.database.constraints import fields_of, is_in_use, is_open, reference_fields, referrers_of, unique_fields
from kit.database.errors import code_of, first_line, meaning_of
from kit.database.violations import Violation, statement_of, violation_of
from kit.http.problems import (
    TAKEN,
    Problem,
    conflict,
    error,
    invalid,
    missing_reference,
    pointer_to,
    taken,
    unavailable,
)

log = logging.getLogger("kit")
LOG_SECONDS = 10.0
"""The same failure is logged at most once in this number of seconds."""
logged: dict[tuple[str, str], float] = {}
"""When a failure may be logged again (`time.monotonic`), by the message and the code of the failure."""


def problem_of(failure: Exception, *, committing: bool = False) -> Problem | None:
    """Return the problem (RFC 9457) for a failure of the database; None for a programming error.

    `committing`: the failure happened during a COMMIT, so that it is unknown whether the transaction took effect.
    The member `outcome` of the problem says so.
    """
    meaning = meaning_of(failure)
    if meaning in VIOLATIONS:
        return VIOLATIONS[meaning](failure, violation_of(failure))
    if isinstance(failure, StaleDataError):
        return Problem(409, "Other requests keep changing this resource; try again.", kind="conflict")
    if meaning == "unready":
        message = first_line(failure)
        absent = absent_column(message) or absent_table(message)
        return unready(notice(absent) if absent else "A table is missing: run `make migrate`.")
    if fixed := FIXED.get(meaning or ""):
        return fixed()
    return None if meaning is None else unavailable("unknown" if committing else "not_applied")


def unready(detail: str, **extra: Any) -> Problem:
    """Return a 503 while the service is not ready to serve this request; `extra` are further members of the problem."""
    return Problem(503, detail, kind="unready", headers={"Retry-After": "1"}, **extra)


FIXED: Mapping[str, Callable[[], Problem]] = {
    "not_stored": lambda: Problem(409, "A rule of the database left this out; it was not stored.", kind="not-stored"),
    "timeout": lambda: Problem(504, "The database took too long.", kind="timeout"),
}
"""The functions that make a problem from the meaning of a failure alone."""


def unique_value(_: Exception, violation: Violation) -> Problem:
    return taken(*unique_fields(violation))


def excluded_value(_: Exception, violation: Violation) -> Problem:
    """Return the 409 for an exclusion constraint, by which values need not be equal to conflict."""
    fields = unique_fields(violation)
    if violation.table is not None and not is_open(violation.table):
        return taken(*fields)
    verb, value = ("is", "this value") if len(fields) == 1 else ("are", "these values")
    return conflict(fields, f"{' and '.join(fields)} {verb} taken: another row excludes {value}.", TAKEN)


def refused_value(failure: Exception, violation: Violation) -> Problem:
    if is_in_use(failure, violation):  # ON DELETE SET NULL of a column that is NOT NULL, or has a CHECK
        return in_use(failure, violation)
    return at_fields(violation)


def at_fields(violation: Violation) -> Problem:
    pointers = [pointer_to(field) for field in fields_of(violation)]
    return invalid(error("body", pointer, "The database refuses this value.", "constraint") for pointer in pointers)


def unbounded_value(failure: Exception, violation: Violation) -> Problem:
    fields = " and ".join(fields_of(violation))
    log.warning("The database refused a value, so a bound is missing: %s (%s)", fields, code_of(failure))
    return at_fields(violation)


def broken_reference(failure: Exception, violation: Violation) -> Problem:
    if is_in_use(failure, violation):
        return in_use(failure, violation)
    return missing_reference(*reference_fields(failure, violation))


def in_use(failure: Exception, violation: Violation) -> Problem:
    by = referrers_of(failure, violation)
    return Problem(409, f"Other rows refer to it{f' by {by}' if by else ''}.", kind="in-use")


def refused_by_rule(failure: Exception, violation: Violation) -> Problem:
    """Return the 409 for a rule of the database, such as a trigger that raises. Its message is for the log alone."""
    log_once(failure, "A rule of the database refused a change: %s")
    if statement_of(failure).startswith("DELETE"):  # there is no body
        return Problem(409, RULE, kind="refused")
    return conflict(fields_of(violation), RULE, "refused")


RULE = "A rule of the database refuses this."


VIOLATIONS: Mapping[str | None, Callable[[Exception, Violation], Problem]] = {
    "taken": unique_value,
    "excluded": excluded_value,
    "reference": broken_reference,
    "invalid": refused_value,
    "unbounded": unbounded_value,
    "refused": refused_by_rule,
}
"""The functions that make a problem of a violated constraint, by the meaning of the failure."""


def explained(failure: Exception, *, committing: bool = False) -> Exception:
    """Return the problem for a failure of the database; the failure itself if it is a programming error."""
    problem = problem_of(failure, committing=committing)
    if problem is None:
        return failure
    problem.origin = failure
    if problem.status_code >= 500:
        log_once(failure)
    return problem


def log_once(failure: Exception, message: str = "The database failed: %s") -> None:
    """Log a failure, at most once in `LOG_SECONDS`: while a database is down, every request fails in the same way."""
    key, now = (message, code_of(failure)), time.monotonic()
    if now >= logged.get(key, now):
        logged[key] = now + LOG_SECONDS
        log.warning(message, first_line(failure))
