"""Parts of types: the fields of dataclasses, generic types and named types, and the rows in a result of these types."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from typing_extensions import TypedDict

from kit.models.type_parts import types_of_fields
from kit.operations.shown_rows import rows_by_shown
from kit.query.shown_values import shown_by
from tests.kit.bookshop import Book, BookRead

T = TypeVar("T")


@dataclass
class Pair(Generic[T]):
    first: T
    others: list[T]


@dataclass
class Elsewhere:
    thing: "Unknown"  # type: ignore[name-defined]  # noqa: F821  as one that is imported for type checkers only


class Labelled(TypedDict):
    items: dict[str, BookRead]


class Placed(NamedTuple):
    place: int
    item: BookRead


def test_fields_of_a_generic_type_have_the_types_of_its_arguments() -> None:
    assert types_of_fields(Pair[int]) == {"first": int, "others": list[int]}


def test_a_dataclass_that_names_an_unknown_class_has_no_fields() -> None:
    assert types_of_fields(Elsewhere) == {}


def test_rows_are_found_in_dictionaries_and_named_tuples() -> None:
    row, shown = Book(title="Emma", author="Austen"), shown_by(BookRead)
    assert rows_by_shown({"items": {"a": row}}, Labelled) == {shown: [row]}
    assert rows_by_shown(Placed(1, row), Placed) == {shown: [row]}  # type: ignore[arg-type]  # a row in place of its variant
