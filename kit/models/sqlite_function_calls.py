"""SQL functions on SQLite over decimals and durations: also aggregates, windows, and filters of aggregates."""

from collections.abc import Sequence
from copy import copy
from typing import Any

from sqlalchemy import Over, String, func, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ClauseList, FunctionFilter, Grouping
from sqlalchemy.sql.functions import Function, GenericFunction

from kit.models.sqlite_forms import (
    ENCODED,
    PLAIN,
    as_duration,
    call,
    converted,
    form_of,
    has_duration,
    is_encoded,
    shifted,
)

TYPED = (
    "abs", "avg", "ceil", "ceiling", "first_value", "floor", "ifnull", "lag", "last_value", "lead", "mod", "nth_value",
    "nullif", "round", "trunc",
)  # fmt: skip
"""The functions that have the type of their first argument, if that is a decimal or duration."""
KEPT = {
    "avg", "coalesce", "first_value", "ifnull", "lag", "last_value", "lead", "max", "min", "nth_value", "nullif", "sum",
}  # fmt: skip
"""The functions that are right in any form, if all their arguments have the same."""
COUNTED = {"lag", "lead", "nth_value"}
"""The functions whose second argument is a number of rows."""
CALCULATED = {
    "abs": "abs", "ceil": "ceil", "ceiling": "ceil", "floor": "floor", "mod": "mod", "round": "round", "sign": "sign",
    "trunc": "trunc",
}  # fmt: skip
"""The functions that `decimal_of` calculates, and its names of them."""


class TypedFunction(GenericFunction[Any]):
    """A function with the type of its first argument, if that is a decimal or duration."""

    inherit_cache = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        first = next(iter(self.clauses), None)
        if isinstance(getattr(first, "type", None), ENCODED) and "type_" not in options:
            self.type = first.type  # type: ignore[union-attr]


for _name in TYPED:
    type(_name, (TypedFunction,), {"name": _name, "inherit_cache": True})


@compiles(Function, "sqlite")
def compile_function(element: Function[Any], compiler: Any, **kw: Any) -> Any:
    arguments, name = list(element.clauses), element.name.lower()
    if not is_encoded(element, *arguments) or name == "count":
        return compiler.visit_function(element, **kw)
    if is_text_total(element):
        return total(element, element, compiler, kw)
    if has_duration(element, *arguments) and name not in KEPT:
        as_duration(element, PLAIN)
    if name in CALCULATED:
        return call(compiler, CALCULATED[name], element.type, arguments, kw)
    kind = element.type if name in KEPT and is_encoded(element) else PLAIN
    kept = {1} if name in COUNTED else set()
    changed = [part if at in kept else converted(part, kind) for at, part in enumerate(arguments)]
    sql = compiler.visit_function(with_arguments(element, changed), **kw)
    return sql if name in KEPT else shifted(sql, form_of(element.type).places)


def with_arguments(element: Function[Any], arguments: Sequence[Any]) -> Function[Any]:
    """Return a copy of a function with other arguments."""
    if all(new is old for new, old in zip(arguments, element.clauses, strict=True)):
        return element
    changed = copy(element)
    changed.clause_expr = Grouping(ClauseList(*arguments))
    return changed


def is_text_total(element: Any) -> bool:
    """Return whether a function is a sum or an average of decimals that SQLite stores as text."""
    is_total = isinstance(element, Function) and element.name.lower() in ("sum", "avg")
    return is_total and bool(form_of(argument_of(element).type).digits)


def argument_of(element: Function[Any]) -> Any:
    return next(iter(element.clauses))


def total(element: Any, whole: Any, compiler: Any, kw: dict[str, Any]) -> str:
    """Compile a sum or average of texts. `whole` is the function, or its window or filter."""
    argument = argument_of(element)
    texts = compiler.process(replaced(whole, func.group_concat(type_coerce(argument, String()))), **kw)
    return f"decimal_of('{element.name.lower()}', '{form_of(element.type)}', {texts}, '{form_of(argument.type)}')"


def replaced(whole: Any, function: Function[Any]) -> Any:
    """Return a copy of a window or filter with another function."""
    if isinstance(whole, Function):
        return function
    changed = copy(whole)
    part = "element" if isinstance(whole, Over) else "func"
    setattr(changed, part, replaced(getattr(whole, part), function))
    return changed


@compiles(Over, "sqlite")
def compile_over(element: Over[Any], compiler: Any, **kw: Any) -> Any:
    function = function_of(element)
    if is_text_total(function):
        return total(function, element, compiler, kw)
    return compiler.visit_over(element, **kw)


@compiles(FunctionFilter, "sqlite")
def compile_filter(element: FunctionFilter[Any], compiler: Any, **kw: Any) -> Any:
    if is_text_total(element.func):
        return total(element.func, element, compiler, kw)
    return compiler.visit_funcfilter(element, **kw)


def function_of(element: Any) -> Any:
    """Return the function of a window, which may have a filter."""
    inner = element.element
    return inner.func if isinstance(inner, FunctionFilter) else inner
