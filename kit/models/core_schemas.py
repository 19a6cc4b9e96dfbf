"""Core schemas of the JSON forms: the input that pydantic-core accepts for each kind of type, and final checks."""

import sys
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from pydantic_core import CoreSchema, core_schema

from kit.http.texts import FormText
from kit.models.json_values import (
    CLOCK,
    DATE,
    DURATION,
    MOMENT,
    NOT_BLANK,
    NUMBER,
    STORABLE,
    UNSTORABLE_TEXT,
    decoded,
    in_utc,
    plain_zero,
    storable_duration,
    storable_json,
    whole_number,
    without_zone,
)

FORM_TEXT = core_schema.is_instance_schema(FormText)
ANY_INTEGER = core_schema.int_schema(strict=True)
ANY_NUMBER = core_schema.float_schema(strict=True, allow_inf_nan=False)
INTEGER = core_schema.union_schema(
    [
        ANY_INTEGER,
        core_schema.no_info_plain_validator_function(whole_number),
        core_schema.chain_schema([FORM_TEXT, core_schema.int_schema()]),
    ],
    mode="left_to_right",
)


def first_of(error: Any, *choices: CoreSchema) -> CoreSchema:
    """Return a union schema of `choices`, tried from left to right, which fails with the pydantic error `error`."""
    return core_schema.custom_error_schema(core_schema.union_schema([*choices], mode="left_to_right"), error)


def matching(pattern: str) -> CoreSchema:
    """Return a schema for text that matches a pattern, whatever the model says of its texts in `model_config`."""
    return core_schema.str_schema(
        strict=True,
        pattern=pattern,
        min_length=0,
        max_length=sys.maxsize,
        strip_whitespace=False,
        to_lower=False,
        to_upper=False,
        regex_engine="rust-regex",
    )


def written(pattern: str, target: CoreSchema) -> CoreSchema:
    """Return a schema for text that matches a pattern, and is then validated by the schema `target`."""
    return core_schema.chain_schema([matching(f"^{pattern}$"), target])


TEXT: Sequence[CoreSchema] = (
    core_schema.str_schema(strict=True),
    core_schema.custom_error_schema(
        matching(STORABLE),
        "string_unstorable",
        custom_error_message=UNSTORABLE_TEXT,
    ),
)
VISIBLE = core_schema.custom_error_schema(
    matching(NOT_BLANK), "string_blank", custom_error_message="Text may not be blank"
)
ACCEPTED: dict[str, CoreSchema] = {
    "integer": first_of("int_type", INTEGER),
    "integer member": first_of("int_type", core_schema.is_instance_schema(Enum), INTEGER),
    "number": core_schema.chain_schema([
        first_of(
            "float_type",
            core_schema.float_schema(strict=True),
            core_schema.chain_schema([FORM_TEXT, core_schema.float_schema()]),
        ),
        ANY_NUMBER,
    ]),
    "boolean": first_of(
        "bool_type",
        core_schema.bool_schema(strict=True),
        core_schema.chain_schema([FORM_TEXT, core_schema.bool_schema()]),
    ),
    "text": core_schema.chain_schema([*TEXT]),
    "name": core_schema.chain_schema([*TEXT]),
    "decimal": first_of(
        "decimal_type",
        core_schema.decimal_schema(strict=True),
        written(NUMBER, core_schema.decimal_schema()),
        core_schema.chain_schema([
            core_schema.union_schema([ANY_INTEGER, core_schema.is_instance_schema(float)], mode="left_to_right"),
            core_schema.decimal_schema(),
        ]),
    ),
    "date": first_of("date_type", core_schema.date_schema(strict=True), written(DATE, core_schema.date_schema())),
    "datetime": first_of(
        "datetime_type",
        core_schema.datetime_schema(strict=True, tz_constraint="aware"),
        written(MOMENT, core_schema.datetime_schema(tz_constraint="aware")),
    ),
    "time": first_of(
        "time_type",
        core_schema.time_schema(strict=True, tz_constraint="naive"),
        written(CLOCK, core_schema.time_schema(tz_constraint="naive")),
    ),
    "duration": first_of(
        "time_delta_type",
        core_schema.timedelta_schema(strict=True),
        written(DURATION, core_schema.timedelta_schema()),
    ),
    "bytes": core_schema.no_info_plain_validator_function(decoded),
    "json": core_schema.no_info_plain_validator_function(storable_json),
}  # fmt: skip
"""The schema of the accepted input by form. A form that is missing here accepts the input of its type."""
CHECKED: dict[str, Callable[[Any], Any]] = {
    "datetime": in_utc, "duration": storable_duration, "number": plain_zero, "address": without_zone,
}  # fmt: skip
"""By form, the function of the last step of validation, which checks or converts the value."""
