"""Startup checks of parameters: find types that refuse all text, and forms that refuse the parameters beside them."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from fastapi.params import Form, Param
from fastapi.routing import APIRoute
from pydantic.fields import FieldInfo

from kit.models.entities import Body
from kit.models.json_forms import JSONForm
from kit.models.kinds import expanded
from kit.operations.dependants import dependencies_of, model_of
from kit.server.routes import Entry

TYPED = frozenset({"integer", "integer member", "number", "boolean"})
"""The forms of JSON that accept no text."""


def unreadable_parameters(entry: Entry) -> Iterator[str]:
    """Yield an error for each parameter whose type refuses all text. Form fields are read by all types."""
    for part in dependencies_of(entry.context.dependant) if isinstance(entry.route, APIRoute) else ():
        for field in (*part.path_params, *part.query_params, *part.header_params, *part.cookie_params):
            info, model = field.field_info, model_of(field.field_info)
            assert isinstance(info, Param)
            fields = {field.name: info} if model is None else model.model_fields
            for name in (name for name, member in fields.items() if is_typed(member)):
                is_body = model is not None and issubclass(model, Body)
                remedy = f"a model that is not a `Body` for {field.name}" if is_body else "`int`, or `Id` for an id"
                yield (
                    f"{entry.description} reads {name} from the {info.in_.value}, which is text, but its type accepts "
                    f"the numbers and booleans of JSON only: write {remedy}."
                )


def refusing_forms(entry: Entry) -> Iterator[str]:
    """Yield an error for each model of a form that refuses unknown fields, beside other fields or files of the form.

    FastAPI gives the model all fields of the form.
    """
    parts = dependencies_of(entry.context.dependant) if isinstance(entry.route, APIRoute) else ()
    fields = {field.name: field.field_info for part in parts for field in part.body_params}
    for name, info in fields.items():
        model, others = model_of(info), ", ".join(sorted(fields.keys() - {name}))
        if isinstance(info, Form) and others and model is not None and model.model_config.get("extra") == "forbid":
            yield (
                f"{entry.description} takes {model.__name__} as a form, which refuses {others} beside it: "
                f"declare it in the model, as in `class Upload({model.__name__}): file: UploadFile`."
            )


def is_typed(field: FieldInfo) -> bool:
    """Return whether a field, or the elements of a list, accept no text."""
    return has_typed_form(field.annotation, field.metadata)


def has_typed_form(annotation: Any, metadata: Iterable[Any]) -> bool:
    if any(isinstance(part, JSONForm) and part.name in TYPED for part in expanded(metadata)):
        return True
    return any(has_typed_form(part, getattr(part, "__metadata__", ())) for part in get_args(annotation))
