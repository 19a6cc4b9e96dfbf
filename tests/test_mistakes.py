"""Mistakes in a resource: each is refused at start, or fails a contract test that names the field and the fix."""

import asyncio
import re
import sys
from collections.abc import Iterator
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from sqlmodel import SQLModel

from kit import Service
from kit.scaffolding.fields import fields_of
from kit.scaffolding.rendering import source_of
from kit.scaffolding.resources import Resource as ResourceToWrite
from main import create_app
from tests.application import settings_for
from tests.contract import test_declarations
from tests.contract.resource import Resource, concerns, named

FIELDS = "name:str code:str! weight:int"
CHECKS = [check for name, check in vars(test_declarations).items() if name.startswith("test_")]
NUMBERS = count(1)
"""Numbers for the names of the widgets, which must differ."""


@pytest.fixture(autouse=True)
def no_table_stays() -> Iterator[None]:
    tables = set(SQLModel.metadata.tables)
    yield
    for name in set(SQLModel.metadata.tables) - tables:
        SQLModel.metadata.remove(SQLModel.metadata.tables[name])


def service_with(old: str = "", new: str = "") -> Service:
    """Return the application with widgets by the pattern, in whose source `new` stands instead of `old`."""
    name = f"widget{next(NUMBERS)}"
    widgets = ResourceToWrite(name, "widgets", "things", fields_of(FIELDS, name, {}))
    old, new = (part.replace("Widget", name.capitalize()).replace("widget_", f"{name}_") for part in (old, new))
    assert old in source_of(widgets), old
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(source_of(widgets).replace(old, new), f"{name}.py", "exec"), vars(module))  # noqa: S102  our own source
    app = create_app(settings_for("sqlite://"))
    app.include_router(module.router)
    app.check_routes()
    return app


def failures(resource: Resource) -> list[str]:
    """Return the messages of the checks of declarations."""
    found = []
    for check in (check for check in CHECKS if concerns(check, resource)):
        anonymous: Any = None
        try:
            asyncio.run(check(anonymous, resource))
        except AssertionError as failure:
            found.append(without_number(str(failure).partition("\n")[0]))
    return found


def without_number(message: str) -> str:
    return re.sub(r"([Ww]idget)[0-9]+", r"\1", message)


def test_the_pattern_itself_has_no_fault() -> None:
    assert failures(named(service_with(), "widgets")) == []


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (', schema_extra={"examples": [1]}', "", "weight has no example for the docs: write `weight: … = Field("),
        ('"examples": [1]', '"examples": ["one"]', "'one', an example of weight, is refused"),
        (
            "read = WidgetRead",
            'read = WidgetRead; sorts = ["version"]',
            "version is for sort or filter",
        ),
        (
            "WidgetCreate(WidgetBase, Body)",
            "WidgetCreate(WidgetBase)",
            "WidgetCreate takes unknown",
        ),
        (
            "response_model=WidgetRead, status_code",
            "response_model=WidgetUpdate, status_code",
            "create responds with WidgetUpdate",
        ),
        (
            "WidgetRead(Stamped, ",
            "WidgetRead(",
            "WidgetRead has no version: write",
        ),
        (
            "    widget_id: Id,",
            "    widget_id: int,",
            "widget_id of read takes any number: write",
        ),
        (
            "    weight: ",
            "    password_hash: str | None = None\n    weight: ",
            "password_hash is a secret",
        ),
    ],
)
def test_a_mistake_fails_a_contract_test_that_names_the_field_and_the_remedy(old: str, new: str, says: str) -> None:
    found = failures(named(service_with(old, new), "widgets"))
    assert [message for message in found if says in message], found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("route_class=allowing(read=Who.MEMBERS)", "", "takes WidgetQuery: give its router `route_class=allowing(…)`."),
        ("new: WidgetCreate, session", "new: Widget, session", "takes the table Widget as its body"),
        (
            "response_model=list[WidgetRead], summary",
            "response_model=list[Widget], summary",
            "response_model",
        ),
        ("session: ReadSession) -> Page", "session: Session) -> Page", "take `ReadSession`"),
    ],
)
def test_a_mistake_is_refused_at_start_with_the_remedy(old: str, new: str, says: str) -> None:
    with pytest.raises(Exception, match="widget") as refused:
        service_with(old, new)
    assert says in without_number(str(refused.value))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    read = WidgetRead\n", "", "WidgetQuery has no `read`"),
        ("    model = Widget\n", "", "WidgetQuery has no `model`"),
    ],
)
def test_a_query_that_lacks_something_is_refused_when_it_is_defined(old: str, new: str, says: str) -> None:
    with pytest.raises(TypeError) as refused:
        service_with(old, new)
    assert says in without_number(str(refused.value))
