"""Private fields of models: responses omit them, except for superusers and the owner of a row."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, ForeignKey, inspect
from sqlmodel import SQLModel

from kit.http.principals import CURRENT_PRINCIPAL, OUTSIDE
from kit.models.kinds import option

PRIVATE: dict[str, Any] = {"info": {"private": True}}
"""The `sa_column_kwargs` of a private field: `Field(sa_column_kwargs=PRIVATE)`."""


def hidden_fields(shown: SQLModel) -> Collection[str]:
    """Return the fields of a row or read variant that the principal may not see, by their names and aliases."""
    kind = type(shown)
    fields = fields_for_owners(kind)
    name = owner_field(kind) if fields else None
    owner = None if name is None else getattr(shown, name, None)
    return () if owner is not None and owner == CURRENT_PRINCIPAL.get().id else fields


def fields_for_owners(model: type[SQLModel]) -> Collection[str]:
    """Return the private fields of a model, which the principal sees only in own rows; none for a superuser.

    Raises a RuntimeError if the model has private fields, and there is no request whose principal could be known. From
    a serializer, pydantic raises it as a PydanticSerializationError.
    """
    fields, principal = private_fields(model), CURRENT_PRINCIPAL.get()
    if not fields:
        return fields
    if principal is OUTSIDE:
        raise RuntimeError(
            f"{model.__name__} has private fields, and it is not known who will see them, because this code runs "
            "outside of the context of a request: write `asyncio.to_thread(…)` for a thread of a request, or "
            "`CURRENT_PRINCIPAL.set(UNRESTRICTED)` for a job that may see all fields."
        )
    return () if principal.is_superuser else fields


@cache
def private_fields(model: type[SQLModel]) -> frozenset[str]:
    """Return the private fields of a model and of its base classes, by their names and aliases."""
    bases = [base for base in model.__mro__ if issubclass(base, SQLModel)]
    private = {name for base in bases for name, field in base.model_fields.items() if _is_private_field(field)}
    aliases = {model.model_fields[name].serialization_alias or name for name in private if name in model.model_fields}
    return frozenset(private | aliases)


@cache
def tells_all(entity: type[SQLModel], model: Any) -> bool:
    """Return whether the version of a row tells all that a response model shows of it.

    It does not if some callers see private fields, or if the model has values of other rows: related rows, or columns
    that are computed from other tables.
    """
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return False
    own = {attr.key for attr in inspect(entity).column_attrs if isinstance(attr.columns[0], Column)}
    hidden = private_fields(model) if issubclass(model, SQLModel) else ()
    return not hidden and model.model_fields.keys() <= own


@cache
def owner_field(model: type[SQLModel]) -> str | None:
    """Return the field with the owner's id; None if `belongs_to` does not lead straight to the table of users."""
    name: str | None = getattr(model, "belongs_to", None)
    if name is None or name not in model.model_fields:
        return None
    return name if all(map(_is_of_users, _foreign_keys(model.model_fields[name]))) else None


def _foreign_keys(field: Any) -> Iterator[str]:
    """Yield the foreign keys of a field, in the form `table.column`."""
    key, column, others = (option(field, name) for name in ("foreign_key", "sa_column", "sa_column_args"))
    if isinstance(key, str):
        yield key
    for each in (*getattr(column, "foreign_keys", ()), *(others if isinstance(others, Sequence) else ())):
        if isinstance(each, ForeignKey):
            yield each.target_fullname


def _is_of_users(foreign_key: str) -> bool:
    found = [table for table in _tables() if _has_name(table, foreign_key)]
    return bool(found) and all(getattr(table, "belongs_to", None) == "id" for table in found)


def is_private(info: Any) -> bool:
    """Return whether the `info` of a column marks it as private."""
    return isinstance(info, Mapping) and bool(info.get("private"))


def _is_private_field(field: Any) -> bool:
    column, options = option(field, "sa_column"), option(field, "sa_column_kwargs")
    return is_private(getattr(column, "info", None)) or (
        isinstance(options, Mapping) and is_private(options.get("info"))
    )


def _tables(parent: type[SQLModel] = SQLModel) -> Iterator[type[SQLModel]]:
    for child in parent.__subclasses__():
        if hasattr(child, "__table__"):
            yield child
        yield from _tables(child)


def _has_name(table: type[SQLModel], foreign_key: str) -> bool:
    return str(table.__tablename__) == foreign_key.rpartition(".")[0].rpartition(".")[2]
