"""CAST, `type_coerce`, and EXTRACT on SQLite, where their operand or result is a decimal or duration."""

from typing import Any

from sqlalchemy import Integer, Interval, Numeric, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BindParameter, Cast, Extract, TypeCoerce

from kit.models.columns import DecimalColumn, DurationColumn
from kit.models.moments import cast_of_moment, part_of_moment
from kit.models.sqlite_forms import PLAIN, as_duration, as_text, call, converted, form_of, has_duration, is_encoded


@compiles(Cast, "sqlite")
def compile_cast(element: Cast[Any], compiler: Any, **kw: Any) -> Any:
    source, kind = element.clause, element.type
    if not is_encoded(element, source):
        return cast_of_moment(element, compiler, **kw)
    if isinstance(kind, DurationColumn | Interval) or has_duration(source):
        return compiler.process(as_duration(source, DurationColumn() if isinstance(kind, Interval) else kind), **kw)
    if isinstance(kind, DecimalColumn):
        return call(compiler, "stored", kind, [source], kw)
    if isinstance(kind, String):
        return compiler.process(as_text(source), **kw)
    if isinstance(kind, Integer):
        return call(compiler, "round", PLAIN, [source], kw)
    places = getattr(kind, "scale", None)
    if isinstance(kind, Numeric) and places is not None:
        return (
            f"decimal_of('round', '0.0', {compiler.process(source, **kw)}, '{form_of(source.type)}', {places}, '0.0')"
        )
    return compiler.process(converted(source, PLAIN), **kw)


@compiles(TypeCoerce, "sqlite")
def compile_coerced(element: TypeCoerce[Any], compiler: Any, **kw: Any) -> Any:
    source = element.clause
    if isinstance(source, BindParameter) or not is_encoded(element, source) or isinstance(element.type, String):
        return compiler.visit_type_coerce(element, **kw)
    return compiler.process(converted(source, element.type), **kw)


@compiles(Extract, "sqlite")
def compile_extract(element: Extract, compiler: Any, **kw: Any) -> Any:
    if has_duration(element.expr):
        as_duration(element.expr, PLAIN)
    return part_of_moment(element, compiler, **kw)
