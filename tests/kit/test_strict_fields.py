"""Dataclasses, `TypedDict`s and named tuples in bodies are as strict as the bodies."""

from dataclasses import InitVar, dataclass, field
from datetime import date
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, Optional, Required, TypeVar

import pytest
from pydantic import Field, ValidationError, field_validator, with_config
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from kit import Body

pytestmark = pytest.mark.no_fast_path
V = TypeVar("V")


@dataclass
class Peg:
    depth: int
    width: Annotated[int, Field(ge=1)] = 1
    since: date | None = None
    next: Optional["Peg"] = None
    others: list["Peg"] = field(default_factory=list)
    uses: int = field(default=0, init=False)
    unit: InitVar[int] = 1


class Label(TypedDict):
    text: Required[str]
    size: NotRequired[int]


@with_config({"extra": "ignore"})
class OpenLabel(TypedDict):
    size: int


class Place(NamedTuple):
    x: int
    name: str = "here"


@dataclass
class Box(Generic[V]):
    content: V


@pydantic_dataclass
class Aliased:
    depth: int = Field(alias="deep")


@pydantic_dataclass
class Split:
    parts: list[str]

    @field_validator("parts", mode="before")
    @classmethod
    def split(cls, value: str) -> list[str]:
        return value.split(",")


class Shelf(Body):
    peg: Peg | None = None
    label: Label | None = None
    labels: list[Label] = Field(default_factory=list)
    open: OpenLabel | None = None
    place: Place | None = None
    box: Box[int] | None = None
    either: Peg | Label | None = None
    aliased: Aliased | None = None
    split: Split | None = None


@pytest.mark.parametrize(
    ("body", "where", "kind"),
    [
        ({"peg": {"depth": "1"}}, ("peg", "depth"), "int_type"),
        ({"peg": {"depth": 1, "colour": 2}}, ("peg", "colour"), "extra_forbidden"),
        ({"peg": {"depth": 1, "uses": 2}}, ("peg", "uses"), "extra_forbidden"),
        ({"peg": {"depth": 1, "unit": "2"}}, ("peg", "unit"), "int_type"),
        ({"peg": {"depth": 1, "width": 0}}, ("peg", "width"), "greater_than_equal"),
        ({"peg": {"depth": 1, "since": 5}}, ("peg", "since"), "date_type"),
        ({"peg": {"depth": 1, "next": {"depth": True}}}, ("peg", "next", "depth"), "int_type"),
        ({"peg": {"depth": 1, "others": [{"depth": 1}, {}]}}, ("peg", "others", 1, "depth"), "missing"),
        ({"peg": [1]}, ("peg",), "dict_type"),
        ({"label": {"text": 1}}, ("label", "text"), "string_type"),
        ({"labels": [{"text": "a"}, {"text": "a", "size": "1"}]}, ("labels", 1, "size"), "int_type"),
        ({"label": {"text": "a", "sizes": 1}}, ("label", "sizes"), "extra_forbidden"),
        ({"label": {}}, ("label", "text"), "missing"),
        ({"place": ["1"]}, ("place", 0), "int_type"),
        ({"place": [1, "a", 3]}, ("place",), "too_long"),
        ({"box": {"content": "1"}}, ("box", "content"), "int_type"),
    ],
)
def test_what_a_body_refuses_a_class_with_fields_within_it_refuses(body: Any, where: Any, kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Shelf.model_validate(body)
    assert [(error["loc"], error["type"]) for error in refused.value.errors()] == [(where, kind)]


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ({"peg": {"depth": 1, "unit": 2, "next": {"depth": 2}}}, "peg", Peg(1, next=Peg(2))),
        ({"peg": {"depth": 1, "since": "2026-01-31"}}, "peg", Peg(1, since=date(2026, 1, 31))),
        ({"peg": Peg(3)}, "peg", Peg(3)),
        ({"label": {"text": "a"}}, "label", {"text": "a"}),
        ({"open": {"size": 1, "text": "a"}}, "open", {"size": 1}),
        ({"place": [1]}, "place", Place(1)),
        ({"place": {"x": 1, "name": "there"}}, "place", Place(1, "there")),
        ({"box": {"content": 1}}, "box", Box(1)),
        ({"either": {"text": "a"}}, "either", {"text": "a"}),
        ({"aliased": {"deep": 1}}, "aliased", Aliased(deep=1)),
        ({"split": {"parts": "a,b"}}, "split", Split("a,b")),  # type: ignore[arg-type]  # the validator splits it
    ],
)
def test_a_class_with_fields_in_a_body_has_its_values(body: Any, name: str, value: Any) -> None:
    assert getattr(Shelf.model_validate(body), name) == value
