"""Seeding: values like the examples, and what happens to rows that are refused."""

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model
from sqlalchemy import Column, Index, MetaData, Table, UniqueConstraint

from kit.commands import seeding
from kit.commands.errors import CommandFailedError
from kit.commands.seeding import Target, create, distinct, fill, limit_of, targets_of, varied


class LineCreate(BaseModel):
    slug: str = Field(pattern="^[a-z-]+[0-9]+$", examples=["tea"])
    book_id: int | None = Field(examples=["{book}"])
    note: str | None = None


def line(most: int = 1000, table: str = "line") -> Target:
    return Target("/lines/bulk", LineCreate, most, table)


class Answers:
    """An application that gives these answers, one after the other."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["query_string"].decode())
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        status, body = self.answers.pop(0)
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


@pytest.mark.parametrize(
    ("example", "pattern"),
    [
        ("9.99", r"\d+\.\d\d"),
        ("2026-01-31", r"20\d\d-\d\d-\d\d"),
        ("2026-01-31T07:30:00Z", r"20\d\d-\d\d-\d\dT07:30:00\+00:00"),
        ("ann@example.com", "ann7@example.com"),
        ("Tea", "Tea 7"),
        (40, r"\d+"),
    ],
)
def test_values_are_like_the_example(example: Any, pattern: str) -> None:
    assert re.fullmatch(pattern, str(next(varied(example, 7))))


def test_some_values_are_not_varied() -> None:
    assert [*varied(True, 1), *varied(None, 1), *varied(1.5, 1)] == []


def test_a_text_that_looks_like_a_date_or_an_address_is_a_text() -> None:
    assert next(varied("2026-01-31 Meeting", 7)) == "2026-01-31 Meeting 7"
    assert [*distinct("2026-99-99", 7), *distinct("1.2.3.999", 7), *distinct("a::b::c", 7)] == []


@pytest.mark.parametrize(
    "examples",
    [
        [40],
        ["9.99"],
        ["2026-01-01", "2026-01-02", "2026-01-03"],
        [1.5],
        ["019b0000-0000-7000-8000-000000000001", "019b0000-0000-7000-8000-000000000002"],
        ["2026-01-01T10:00:00Z"],
        ["07:30:00"],
        ["P1DT2H"],
        ["192.0.2.1"],
        ["2001:db8::1"],
    ],
)
def test_rows_have_distinct_values_in_unique_fields(examples: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Any] = [
        Column("code", unique=True),
        Column("sku"),
        Column("note"),
        Column("size"),
        UniqueConstraint("sku"),
    ]
    table = Table("crate", MetaData(), *parts, Index("size_index", "size", unique=True))
    monkeypatch.setattr(seeding, "known_tables", lambda: {"crate": table})
    model = create_model("CrateCreate", code=(type(examples[0]), Field(examples=examples)))
    target = Target("/crates/bulk", model, 1000, "crate")
    assert target.uniques == {"code", "sku", "size"}
    assert len({body["code"] for body in target.bodies(1000, {}, 7)}) == 1000


def test_other_unique_values_are_varied_as_all_are() -> None:
    assert [*distinct(True, 1), *distinct("Tea", 1), *distinct(None, 1)] == []


def test_a_body_has_values_that_the_model_accepts_and_the_ids_of_parents() -> None:
    assert line().body(7, {"book": [3]}) == {"slug": "tea-7", "book_id": 3}
    assert line().parents == {"book"}


async def test_refused_rows_are_left_out() -> None:
    taken = {"errors": [{"pointer": "#/0/slug", "detail": "slug is taken."}]}
    some = {"created": [{"id": 1}], "failed": [{"index": 1, "problem": taken}]}
    app: Any = Answers((409, {}), (207, some), (422, {}), (422, {"detail": "No."}))
    assert await create(app, "/lines/bulk", [{}, {}]) == ([{"id": 1}], ["slug: slug is taken."])
    assert await create(app, "/lines/bulk", [{}, {}]) == ([], ["No.", "No."])
    assert app.asked == ["", "on_error=skip"] * 2


async def test_the_most_common_reason_of_refusals_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [{"detail": "Too little stock."}, {"detail": "slug is taken."}, {"detail": "slug is taken."}]
    failed = [{"index": index, "problem": problem} for index, problem in enumerate(problems)]
    app: Any = Answers((409, {}), (207, {"created": [], "failed": failed}))
    assert await fill(app, line(), 3, {"book": [1]}) == 0
    assert capsys.readouterr().err == "lines: 3\nlines: 3 were refused, 2 of them because: slug is taken.\n"


async def test_a_failure_ends_the_seeding() -> None:
    app: Any = Answers((503, {"detail": "The database is away."}))
    with pytest.raises(CommandFailedError, match=r"POST /lines/bulk got 503: The database is away\."):
        await create(app, "/lines/bulk", [{}])


async def test_rows_whose_parents_are_missing_are_not_created() -> None:
    nothing: Any = Answers()
    assert await fill(nothing, line(), 10, {}) == 0


def test_dear_rows_are_few() -> None:
    assert (limit_of(line(50)), limit_of(line()) > 10**6) == (200, True)


def test_parents_come_first_and_cycles_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    class BookCreate(BaseModel):
        line_id: int = Field(examples=["{line}"])

    found = [line(), Target("/books/bulk", BookCreate, 1000, "book")]
    monkeypatch.setattr(seeding, "iter_route_contexts", lambda _: found)
    monkeypatch.setattr(seeding, "target_of", lambda one: one)
    app: Any = type("App", (), {"routes": []})
    assert {target.table for target in targets_of(app)} == {"line", "book"}
