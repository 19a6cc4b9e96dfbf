"""Conversions: the SQL that converts the values of a column to another type, with the same results on both databases.

A migration counts the values that a conversion would change, and stops if there are any. Between types without a known
conversion these are all values except NULL.
"""

from collections.abc import Callable
from typing import NamedTuple

from kit.database.storage_kinds import Kind


class Conversion(NamedTuple):
    """The SQL of a conversion for each database: the expression, and the condition for values that it would change.

    No value is refused if the condition is empty.
    """

    sqlite: str
    postgresql: str
    wrong_on_sqlite: str = ""
    wrong_on_postgresql: str = ""
    is_known: bool = True


def conversion(column: str, old: Kind | None, new: Kind | None) -> Conversion | None:
    """Return the conversion of a column; None if its values can stay as they are."""
    c = f'"{column}"'
    if old is None or new is None:
        return unknown(c) if old != new else None
    if old.name == new.name and old.name not in ("decimal", "numeric"):
        return within(c, old, new)
    if "decimal" in (old.name, new.name):
        return of_decimals(c, old, new)
    rule = RULES.get((old.name, new.name))
    return unknown(c) if rule is None else rule(c, old, new)


def within(c: str, old: Kind, new: Kind) -> Conversion | None:
    """Return the conversion to another size of a type: a shorter text, a smaller integer, a time with a time zone."""
    if new.length is not None and (old.length is None or old.length > new.length):
        too_long = f"length({c}) > {new.length}"
        return Conversion(c, c, too_long, too_long)
    if new.bits < old.bits:
        too_large = f"{c} NOT BETWEEN -{2 ** (new.bits - 1)} AND {2 ** (new.bits - 1) - 1}"
        return Conversion(c, c, too_large, too_large)
    return None if old.zoned == new.zoned else Conversion(c, f"{c} AT TIME ZONE 'UTC'")


def unknown(c: str) -> Conversion:
    """Return the conversion between types without a known one. It refuses all values except NULL."""
    return Conversion("NULL", "NULL", f"{c} IS NOT NULL", f"{c} IS NOT NULL", is_known=False)


def of_decimals(c: str, old: Kind, new: Kind) -> Conversion:
    """Return a conversion from or to decimals. There is none for those that SQLite stores as text."""
    kinds = [kind for kind in (old, new) if kind.name == "decimal"]
    rule = DECIMALS.get((old.name, new.name))
    if rule is None or any(kind.places is None or not kind.is_number for kind in kinds):
        return unknown(c)
    return rule(c, old, new)


def scaled(c: str, old: Kind, new: Kind) -> Conversion:
    """Return the conversion between integers and decimals of any scale. It refuses to round."""
    have, want = old.places or 0, new.places or 0
    if new.name == "integer":
        high, cast = f"{2 ** (new.bits - 1)}", {16: "smallint", 32: "integer"}.get(new.bits, "bigint")
    else:
        high, cast = f"{10 ** (new.whole or 0)}", f"numeric({(new.whole or 0) + want}, {want})"
    using = f"{c} * {10 ** (want - have)}" if want > have else f"{c} / {10 ** (have - want)}"
    too_large = f"abs({c}) >= {int(high) * 10**have}"
    rounded = f"{c} % {10 ** (have - want)} <> 0 OR " if want < have else ""
    return Conversion(
        c if want == have else using,
        f"CAST({c} AS {cast})",
        f"{rounded}{too_large}",
        f"{c} <> trunc(CAST({c} AS numeric), {want}) OR abs({c}) >= {high}",
    )


def rounded(c: str, _: Kind, new: Kind) -> Conversion:
    """Return the conversion of a float to a decimal, which rounds."""
    places, high = new.places or 0, 10 ** (new.whole or 0)
    exact = f"round(CAST({c} AS numeric), {places})"
    scale = f"round({c}, {places}) * {10**places}"
    return Conversion(
        f"CAST(round({scale}) AS INTEGER)",
        exact,
        f"abs({scale}) >= {high * 10**places}",
        f"{c} IN ('NaN', 'Infinity', '-Infinity') OR abs({c}) >= {high}",
    )


def floating(c: str, old: Kind, _: Kind) -> Conversion:
    """Return the conversion of an integer or a decimal to a float, which has 15 digits."""
    scale, wrong = 10 ** (old.places or 0), f"abs({c}) >= {10**15}"
    return Conversion(f"{c} / {scale}.0", f"CAST({c} AS double precision)", wrong, f"abs({c}) * {scale} >= {10**15}")


def whole(c: str, _: Kind, new: Kind) -> Conversion:
    """Return the conversion of a float to an integer. It refuses fractions."""
    high = 2 ** (new.bits - 1)
    cast = f"CAST({c} AS {'integer' if new.bits == 32 else 'bigint'})"
    wrong = f"abs({c}) >= {high} OR round({c}) <> {c}"
    return Conversion(f"CAST({c} AS INTEGER)", cast, wrong, f"{c} = 'NaN' OR {wrong}")


def rescaled(c: str, _: Kind, new: Kind) -> Conversion | None:
    """Return the conversion between NUMERIC columns of the application. It refuses to round."""
    wrong = "" if new.places is None else f"round({c}, {new.places}) <> {c}"
    return Conversion(c, c, wrong, wrong)


def integer_of_text(c: str, _: Kind, new: Kind) -> Conversion:
    high, cast = 2 ** (new.bits - 1), "integer" if new.bits == 32 else "bigint"
    value = f"CAST({c} AS INTEGER)"
    return Conversion(
        value,
        f"CAST({c} AS {cast})",
        f"CAST({value} AS TEXT) <> {c} OR {value} >= {high} OR {value} < -{high}",
        f"CASE WHEN {c} ~ '^(0|-?[1-9][0-9]{{0,18}})$' THEN CAST({c} AS numeric) NOT BETWEEN -{high} AND {high - 1} "
        f"ELSE true END AND {c} IS NOT NULL",
    )


def decimal_of_text(c: str, _: Kind, new: Kind) -> Conversion:
    """Return the conversion of text such as `-12.5`. It refuses to round, leading zeros, and other notations."""
    whole, places = new.whole or 0, new.places or 0
    number = f"ltrim({c}, '-')"
    point = f"instr({number} || '.', '.')"
    left, right = f"substr({number}, 1, {point} - 1)", f"substr({number}, {point} + 1)"
    digits = f"CAST({left} || substr({right} || '{'0' * places}', 1, {places}) AS INTEGER)"
    wrong = (
        f"{c} NOT IN ({number}, '-' || {number})",
        f"{left} = ''",
        f"{left} || {right} GLOB '*[^0-9]*'",
        f"{number} GLOB '*.'",
        f"{left} GLOB '0?*'",
        f"length(ltrim({left}, '0')) > {whole}",
        f"length(rtrim({right}, '0')) > {places}",
        f"{c} GLOB '-*' AND {digits} = 0",
    )
    integers = f"(0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    return Conversion(
        f"CASE WHEN {c} GLOB '-*' THEN -1 ELSE 1 END * {digits}",
        f"CAST({c} AS numeric({whole + places}, {places}))",
        " OR ".join(wrong),
        f"{c} !~ '^-?{integers}([.][0-9]{{0,{places}}}0*)?$' OR {c} ~ '^-0([.]0*)?$|[.]$'",
    )


def text_of_decimal(c: str, old: Kind, _: Kind) -> Conversion:
    """Return the conversion to text with all decimal places."""
    places = old.places or 0
    unit = 10**places
    fraction = f" || '.' || substr('{'0' * places}' || (abs({c}) % {unit}), -{places})" if places else ""
    sign = f"CASE WHEN {c} < 0 THEN '-' ELSE '' END"
    return Conversion(f"{sign} || (abs({c}) / {unit}){fraction}", f"CAST(round({c}, {places}) AS text)")


def date_of_text(c: str, _: Kind, __: Kind) -> Conversion:
    shape = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
    day = f"substr({c}, 9, 2)"
    last = f"to_char(date_trunc('month', to_date(substr({c}, 1, 7), 'YYYY-MM')) + interval '1 month -1 day', 'DD')"
    return Conversion(
        c,
        f"CAST({c} AS date)",
        f"date({c}, '+0 days') IS NOT {c} AND {c} IS NOT NULL OR {c} < '0001'",
        f"CASE WHEN {c} ~ '{shape}' AND {c} >= '0001' THEN {day} > {last} ELSE true END AND {c} IS NOT NULL",
    )


def uuid_of_text(c: str, _: Kind, __: Kind) -> Conversion:
    digits = f"lower(replace({c}, '-', ''))"
    length = f"length({digits}) <> 32"
    shape = "^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
    return Conversion(
        digits, f"CAST({c} AS uuid)", f"{length} OR {digits} GLOB '*[^0-9a-f]*'", f"lower({c}) !~ '{shape}'"
    )


def text_of_uuid(c: str, _: Kind, __: Kind) -> Conversion:
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return Conversion(" || '-' || ".join(f"substr({c}, {at}, {size})" for at, size in parts), f"CAST({c} AS text)")


def date_of_datetime(c: str, old: Kind, _: Kind) -> Conversion:
    moment = f"{c} AT TIME ZONE 'UTC'" if old.zoned else c
    return Conversion(f"substr({c}, 1, 10)", f"CAST({moment} AS date)")


def datetime_of_date(c: str, _: Kind, new: Kind) -> Conversion:
    midnight = f"CAST({c} AS timestamp)"
    return Conversion(f"{c} || ' 00:00:00.000000'", f"{midnight} AT TIME ZONE 'UTC'" if new.zoned else midnight)


def boolean_of_integer(c: str, _: Kind, __: Kind) -> Conversion:
    return Conversion(c, f"{c} <> 0", f"{c} NOT IN (0, 1)", f"{c} NOT IN (0, 1)")


def to_numeric(c: str, old: Kind, new: Kind) -> Conversion:
    """Return the conversion to a NUMERIC column of the application, which PostgreSQL stores in the same way."""
    number = floating(c, old, new)
    return Conversion(number.sqlite, c, number.wrong_on_sqlite, "false")


def duration_of_interval(c: str, _: Kind, __: Kind) -> Conversion:
    """Return the conversion of SQLAlchemy's `Interval`, which SQLite stores as a time after the year 1970 began."""
    seconds, fraction = f"CAST(strftime('%s', substr({c}, 1, 19)) AS INTEGER)", f"CAST(substr({c}, 21) AS INTEGER)"
    return Conversion(f"{seconds} * 1000000 + {fraction}", c)


def interval_of_duration(c: str, _: Kind, __: Kind) -> Conversion:
    """Return the conversion to SQLAlchemy's `Interval`. It refuses durations that lead beyond the years 1 to 9999."""
    fraction = f"({c} % 1000000 + 1000000) % 1000000"
    clock = f"strftime('%Y-%m-%d %H:%M:%S', ({c} - {fraction}) / 1000000, 'unixepoch')"
    wrong = f"{c} NOT BETWEEN -62135596800000000 AND 253402300799999999"
    return Conversion(f"{clock} || printf('.%06d', {fraction})", c, wrong, "false")


Rule = Callable[[str, Kind, Kind], Conversion | None]
DECIMALS: dict[tuple[str, str], Callable[[str, Kind, Kind], Conversion]] = {
    ("decimal", "decimal"): scaled,
    ("integer", "decimal"): scaled,
    ("decimal", "integer"): scaled,
    ("float", "decimal"): rounded,
    ("decimal", "float"): floating,
    ("numeric", "decimal"): rounded,
    ("decimal", "numeric"): to_numeric,
    ("text", "decimal"): decimal_of_text,
    ("decimal", "text"): text_of_decimal,
}
RULES: dict[tuple[str, str], Rule] = {
    ("numeric", "numeric"): rescaled,
    ("integer", "float"): floating,
    ("float", "integer"): whole,
    ("text", "integer"): integer_of_text,
    ("integer", "text"): lambda c, *_: Conversion(f"CAST({c} AS TEXT)", f"CAST({c} AS text)"),
    ("text", "date"): date_of_text,
    ("date", "text"): lambda c, *_: Conversion(c, f"to_char({c}, 'YYYY-MM-DD')"),
    ("text", "uuid"): uuid_of_text,
    ("uuid", "text"): text_of_uuid,
    ("datetime", "date"): date_of_datetime,
    ("date", "datetime"): datetime_of_date,
    ("integer", "boolean"): boolean_of_integer,
    ("boolean", "integer"): lambda c, *_: Conversion(c, f"CAST({c} AS integer)"),
    ("interval", "duration"): duration_of_interval,
    ("duration", "interval"): interval_of_duration,
}
