"""Settings of models: pydantic's `model_config` in bodies, tables and read variants works, or is refused."""

import re
from datetime import time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import PydanticDeprecatedSince20, ValidationError, create_model, model_validator
from pydantic.json_schema import models_json_schema
from sqlmodel import SQLModel

from kit import Body, Read

pytestmark = pytest.mark.no_fast_path

ROW = SimpleNamespace(id=1, name="a", span=timedelta(seconds=90), clock=time(10), data=b"\xfb", price=Decimal("1.50"))
ENCODERS: Any = {Decimal: float, timedelta: lambda span: span.days}


class CrateBase(SQLModel):
    name: str
    span: timedelta
    clock: time
    data: bytes
    price: Decimal


def derived(base: Any, settings: Any) -> Any:
    return type(base)("Crate", (CrateBase, base), {"model_config": settings, "__module__": __name__})


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, {"span": "PT1M30S", "clock": "10:00:00", "data": "+w==", "price": "1.50"}),
        ({"ser_json_timedelta": "float"}, {"span": 90.0, "data": "+w=="}),
        ({"ser_json_timedelta": "iso8601"}, {"span": "PT1M30S"}),
        ({"ser_json_temporal": "milliseconds"}, {"span": 90000.0, "clock": 36000000.0}),
        ({"ser_json_bytes": "hex"}, {"span": "PT1M30S", "data": "fb"}),
        ({"ser_json_bytes": "base64"}, {"data": "-w=="}),
    ],
)
def test_settings_of_a_read_variant_choose_the_form_in_responses(settings: Any, shown: dict[str, Any]) -> None:
    read = derived(Read, settings)
    assert read.of(ROW).model_dump(mode="json").items() >= shown.items()


def test_encoders_of_a_read_variant_choose_the_form_in_responses() -> None:
    with pytest.warns(PydanticDeprecatedSince20):
        read = derived(Read, {"json_encoders": ENCODERS})
    assert read.of(ROW).model_dump(mode="json").items() >= {"span": 0, "clock": "10:00:00", "price": 1.5}.items()


def test_the_schema_of_a_response_has_the_form_that_its_settings_choose() -> None:
    read = derived(Read, {"ser_json_temporal": "seconds"})
    properties = read.model_json_schema(mode="serialization")["properties"]
    assert (properties["span"]["type"], properties["clock"]) == ("number", {"title": "Clock", "type": "number"})


@pytest.mark.parametrize(
    ("settings", "name", "stored"),
    [
        ({"str_to_lower": True}, "Cup", "cup"),
        ({"str_to_upper": True}, "Cup", "CUP"),
        ({"str_strip_whitespace": True}, " Cup ", "Cup"),
        ({"str_max_length": 3}, "Cup", "Cup"),
        ({"str_min_length": 11}, "A large cup", "A large cup"),
        ({"regex_engine": "python-re"}, "Cup", "Cup"),
        ({"hide_input_in_errors": True, "validate_default": True, "str_to_lower": False}, "Cup", "Cup"),
    ],
)
def test_settings_for_texts_apply_to_texts_only(settings: Any, name: str, stored: str) -> None:
    body = derived(Body, settings).model_validate(
        {"name": name, "span": "PT1M30S", "clock": "10:00:00", "data": "+w==", "price": "1.50"}
    )
    assert (body.name, body.span, body.clock, body.price) == (stored, ROW.span, ROW.clock, Decimal("1.5"))


@pytest.mark.parametrize("value", ["1.5\n", " 1.5", "1_0"])
def test_the_notation_of_numbers_does_not_depend_on_the_engine_of_patterns(value: str) -> None:
    body = derived(Body, {"regex_engine": "python-re", "str_strip_whitespace": True})
    with pytest.raises(ValidationError, match="price"):
        body.model_validate({"name": "a", "span": "PT1S", "clock": "10:00", "data": "", "price": value})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"allow_inf_nan": True}, "JSON has neither NaN nor Infinity"),
        ({"val_temporal_unit": "milliseconds"}, "a number is neither a time nor a duration"),
        ({"val_json_bytes": "hex"}, "bytes are Base64"),
        ({"coerce_numbers_to_str": True}, "a number is not text: annotate a field that may be both with `int | str`"),
    ],
)
def test_a_setting_without_effect_is_refused(settings: Any, reason: str) -> None:
    error = f"Crate sets {next(iter(settings))} in `model_config`, but {reason}"
    inner = create_model("Crate", __config__=settings)
    with pytest.raises(TypeError, match=re.escape(error)):
        derived(Body, settings)
    with pytest.raises(TypeError, match=re.escape(error)):
        create_model("Outer", __base__=Body, inner=inner)
    assert derived(Read, settings).of(ROW).name == "a"


class Counted(Read):
    """A read variant whose validator changes the value, and refuses a long one."""

    name: str
    kids: list["Counted"]

    @model_validator(mode="after")
    def exclaim(self) -> "Counted":
        if len(self.name) > 3:
            raise ValueError("too long")
        self.name += "!"
        return self


def test_a_read_variant_with_a_validator_of_the_model_keeps_its_name_in_schemas() -> None:
    _, schema = models_json_schema([(Counted, "serialization")])
    assert schema["$defs"]["Counted"]["properties"]["kids"]["items"] == {"$ref": "#/$defs/Counted"}


def test_a_stored_value_that_a_validator_of_the_model_refuses_is_shown_as_it_is() -> None:
    row = SimpleNamespace(id=1, name="long", kids=[])
    assert Counted.model_validate(Counted.of(row)).name == "long"


def test_an_instance_of_the_application_is_validated_by_pydantic_as_often_as_it_says() -> None:
    made = Counted(id=1, name="a", kids=[])
    assert Counted.model_validate(made).name == "a!!"
