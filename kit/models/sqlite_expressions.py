"""SQL expressions over decimals and durations on SQLite, which have the values that PostgreSQL gives.

SQLite stores a decimal in units of its last place, or as text (`kit.models.decimal_forms`), and a duration in
microseconds. Each expression is compiled to a value in the form of its own type: the types of decimals have a form, and
all others are plain numbers. So a column, a comparison with a value, a sum or an order needs no conversion, and indexes
are used. Where the operands have other forms, they are converted: integers by a factor, others by `decimal_of`.
What cannot be converted is a CompileError.

Importing this module registers the functions below at SQLAlchemy, for the dialect `sqlite` alone. They run when a
statement is compiled, once: SQLAlchemy caches compiled statements.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Float,
    Insert,
    Integer,
    Interval,
    Null,
    Numeric,
    Over,
    ScalarSelect,
    Select,
    String,
    Tuple,
    Update,
    case,
    func,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects.sqlite.dml import OnConflictDoUpdate
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    Case,
    Cast,
    ClauseList,
    ColumnClause,
    ColumnElement,
    ExpressionClauseList,
    Extract,
    FunctionFilter,
    Grouping,
    TypeCoerce,
    UnaryExpression,
)
from sqlalchemy.sql.functions import Function, GenericFunction
from sqlalchemy.types import NullType, TypeEngine

from kit.models.columns import CalculatedDecimal, DecimalColumn, DurationColumn
from kit.models.decimal_forms import Form, encode
from kit.models.integer_assignments import stored_integer
from kit.models.moments import cast_of_moment, part_of_moment

ENCODED = (DecimalColumn, DurationColumn)
"""The types whose values SQLite stores in a form of their own."""
PLAIN: TypeEngine[Any] = Float()
"""The type of plain numbers."""
ARITHMETIC: Mapping[Any, str] = {
    operators.add: "add", operators.sub: "sub", operators.mul: "mul",
    operators.truediv: "truediv", operators.floordiv: "floordiv", operators.mod: "mod",
}  # fmt: skip
IN = {operators.in_op: "IN", operators.not_in_op: "NOT IN"}
BETWEEN = {operators.between_op: "BETWEEN", operators.not_between_op: "NOT BETWEEN"}
COMPARISONS = {
    operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge, operators.is_, operators.is_not,
    operators.is_distinct_from, operators.is_not_distinct_from, *IN, *BETWEEN,
}  # fmt: skip
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


class Converted(ColumnElement[Any]):
    """An expression in the form of another type. It exists only while a statement is compiled."""

    __visit_name__ = "converted"
    inherit_cache = False

    def __init__(self, element: Any, kind: TypeEngine[Any], operation: str = "value") -> None:
        """Set the type `kind`. `operation` is one of `decimal_of`: `stored` rounds, `compared` allows all numbers."""
        self.element, self.type, self.operation = element, kind, operation

    @property
    def _from_objects(self) -> list[Any]:
        return list(self.element._from_objects)


def form_of(kind: Any) -> Form:
    return kind.form if isinstance(kind, DecimalColumn) else Form()


def type_of(element: Any) -> Any:
    return getattr(element, "type", None)


def is_encoded(*elements: Any) -> bool:
    return any(isinstance(type_of(element), ENCODED) for element in elements)


def has_duration(*elements: Any) -> bool:
    return any(isinstance(type_of(element), DurationColumn) for element in elements)


def bare(element: Any) -> Any:
    """Return an expression without parentheses."""
    while isinstance(element, Grouping):
        element = element.element
    return element


def calculated(kinds: Iterable[Any]) -> TypeEngine[Any]:
    """Return a type in whose form all values of some types can be compared and added."""
    decimals = [kind for kind in kinds if isinstance(kind, DecimalColumn)]
    if not decimals:
        return PLAIN
    whole, places = max(kind.whole for kind in decimals), max(kind.places for kind in decimals)
    if all(kind.is_number for kind in decimals):
        return CalculatedDecimal(18 - places, places)
    return CalculatedDecimal(whole, places)


def converted(element: Any, kind: TypeEngine[Any], operation: str = "value") -> Any:
    """Return an expression in the form of a type; the expression itself, if it has it already."""
    if isinstance(bare(element), Null):
        return element
    if isinstance(element, UnaryExpression) and element.operator is operators.distinct_op:
        inner = converted(element.element, kind, operation)
        return element if inner is element.element else inner.distinct()
    if isinstance(kind, DurationColumn) or has_duration(element):
        return as_duration(element, kind)
    is_same = form_of(element.type) == form_of(kind)
    if is_same and operation != "stored":
        return element
    parameter = bare(element)
    if isinstance(parameter, BindParameter) and isinstance(kind, DecimalColumn) and not is_stored(parameter.type):
        return type_coerce(parameter, CalculatedDecimal(kind.whole, kind.places) if operation != "stored" else kind)
    return Converted(element, kind, operation)


def is_stored(kind: Any) -> bool:
    return isinstance(kind, DecimalColumn) and not isinstance(kind, CalculatedDecimal)


def as_duration(element: Any, kind: Any) -> Any:
    """Return an expression as a duration. Raises a CompileError if it is none, or if a duration is to be a number."""
    if isinstance(kind, DurationColumn) and has_duration(element):
        return element
    parameter = bare(element)
    is_value = isinstance(parameter, BindParameter) and isinstance(parameter.type, Interval | NullType)
    if isinstance(kind, DurationColumn) and is_value:
        return type_coerce(parameter, kind)
    raise CompileError(
        "SQLite stores durations in microseconds, and cannot convert them to or from another type: "
        "calculate with timedelta columns and timedelta values alone, or convert the loaded values in Python."
    )


def digits_of_literal(element: Any) -> Decimal | None:
    """Return the number that `literal_column` contains; None for all other expressions."""
    if not (isinstance(element, ColumnClause) and element.is_literal):
        return None
    try:
        return Decimal(element.name)
    except InvalidOperation:
        return None


@compiles(Converted, "sqlite")
def compile_converted(element: Converted, compiler: Any, **kw: Any) -> str:
    source, target = element.element, element.type
    if isinstance(target, DurationColumn):
        return f"CAST(round({compiler.process(source, **kw)}) AS INTEGER)"
    before, after = form_of(source.type), form_of(target)
    literal = digits_of_literal(bare(source))
    if literal is not None and element.operation != "stored":
        value = encode(literal, after)
        return f"'{value}'" if isinstance(value, str) else str(value)
    if element.operation == "stored" or before.digits or after.digits or not is_exact(source.type, before, after):
        return call(compiler, element.operation, target, [source], kw)
    return shifted(compiler.process(source, **kw), after.places - before.places)


def is_exact(kind: Any, before: Form, after: Form) -> bool:
    """Return whether a factor converts numbers exactly: integers, or decimals in units of their last place."""
    return isinstance(kind, DecimalColumn | Integer) or after.places <= before.places


def shifted(sql: str, places: int) -> str:
    """Return an SQL expression times a power of 10."""
    if places == 0:
        return sql
    return f"(({sql}) * {10**places})" if places > 0 else f"(({sql}) / {10**-places}.0)"


def call(compiler: Any, operation: str, kind: Any, elements: Sequence[Any], kw: dict[str, Any]) -> str:
    """Return a call of `decimal_of` with expressions of any form, and the result in the form of a type."""
    values = [f"{compiler.process(element, **kw)}, '{form_of(type_of(element))}'" for element in elements]
    return f"decimal_of('{operation}', '{form_of(kind)}', {', '.join(values)})"


@compiles(BinaryExpression, "sqlite")
def compile_binary(element: BinaryExpression[Any], compiler: Any, **kw: Any) -> Any:
    parts = operands(element)
    if all(isinstance(bare(part), Tuple) for part in parts):
        return compiler.visit_binary(compared_rows(element), **kw)
    if not is_encoded(element, *parts):
        return compiler.visit_binary(element, **kw)
    if element.operator in COMPARISONS:
        return comparison(element, parts, compiler, kw)
    if element.operator in ARITHMETIC:
        calculate = durations if has_duration(element, *parts) else arithmetic
        return calculate(element, compiler, kw)
    is_text = element.operator is operators.concat_op or getattr(element.operator, "opstring", "") == "||"
    sides = [as_text(part) if is_text else converted(part, PLAIN) for part in parts]
    if is_text:
        return with_operands(element, sides, compiler, kw)
    return shifted(with_operands(element, sides, compiler, kw), form_of(element.type).places)


def compared_rows(element: BinaryExpression[Any]) -> BinaryExpression[Any]:
    """Return a comparison of two rows with each pair of values in the same form."""
    pairs = list(zip(bare(element.left).clauses, bare(element.right).clauses, strict=True))
    kinds = [DurationColumn() if has_duration(*pair) else calculated(part.type for part in pair) for pair in pairs]
    sides = [
        [converted(part, kind) if is_encoded(*pair) else part for part in pair]
        for pair, kind in zip(pairs, kinds, strict=True)
    ]
    left, right = (tuple_(*values) for values in zip(*sides, strict=True))
    return BinaryExpression(left, right, element.operator, type_=element.type)


def operands(element: BinaryExpression[Any]) -> list[Any]:
    """Return the operands; for BETWEEN and for IN with a list of expressions, those of the list too."""
    right = bare(element.right)
    is_list = isinstance(right, ClauseList | ExpressionClauseList) and element.operator in (*IN, *BETWEEN)
    return [element.left, *right.clauses] if is_list else [element.left, element.right]


def with_operands(element: BinaryExpression[Any], sides: Sequence[Any], compiler: Any, kw: dict[str, Any]) -> Any:
    """Compile a binary expression with other operands."""
    left, right = sides
    changed: Any = BinaryExpression(left, right, element.operator, type_=element.type, modifiers=element.modifiers)
    return compiler.visit_binary(changed, **kw)


def comparison(element: BinaryExpression[Any], parts: list[Any], compiler: Any, kw: dict[str, Any]) -> Any:
    right = bare(element.right)
    if element.operator in IN and isinstance(right, ScalarSelect):
        kind = right.type if is_encoded(right) else PLAIN
    elif has_duration(*parts):
        kind = DurationColumn()
    else:
        kind = calculated(part.type for part in parts)
    sides = [converted(part, kind, "compared" if form_of(kind).digits else "value") for part in parts]
    if all(side is part for side, part in zip(sides, parts, strict=True)):
        return compiler.visit_binary(element, **kw)
    if isinstance(right, ClauseList | ExpressionClauseList):
        first, *others = (compiler.process(side, **kw) for side in sides)
        if element.operator in IN:
            return f"{first} {IN[element.operator]} ({', '.join(others)})"
        return f"{first} {BETWEEN[element.operator]} {' AND '.join(others)}"
    return with_operands(element, sides, compiler, kw)


def arithmetic(element: BinaryExpression[Any], compiler: Any, kw: dict[str, Any]) -> Any:
    left, right, name = element.left, element.right, ARITHMETIC[element.operator]
    before, other, after = form_of(left.type), form_of(right.type), form_of(element.type)
    if before.digits or other.digits or after.digits or name in ("floordiv", "mod"):
        return call(compiler, name, element.type, [left, right], kw)
    if name == "mul":
        places = before.places + other.places
    elif name == "truediv":
        places = before.places - other.places
    else:
        common = calculated((left.type, right.type))
        left, right, places = converted(left, common), converted(right, common), form_of(common).places
    return shifted(with_operands(element, (left, right), compiler, kw), after.places - places)


def durations(element: BinaryExpression[Any], compiler: Any, kw: dict[str, Any]) -> Any:
    """Compile arithmetic with durations: with another one, or with a factor. Raises a CompileError for moments."""
    if element.operator in (operators.mul, operators.truediv):
        sides = [side if has_duration(side) else converted(side, PLAIN) for side in (element.left, element.right)]
    else:
        kind = DurationColumn()
        sides = [as_duration(side, kind) for side in (element.left, element.right)]
    return with_operands(element, sides, compiler, kw)


@compiles(ExpressionClauseList, "sqlite")
def compile_list(element: ExpressionClauseList[Any], compiler: Any, **kw: Any) -> Any:
    """Compile a sum or product of more than two operands as a sum or product of two, if one is a decimal."""
    if element.operator not in (*ARITHMETIC, operators.concat_op) or not is_encoded(element, *element.clauses):
        return compiler.visit_expression_clauselist(element, **kw)
    first, *others = element.clauses
    for other in others:
        first = BinaryExpression(first, other, element.operator, type_=element.type)
    return compiler.process(first, **kw)


@compiles(UnaryExpression, "sqlite")
def compile_unary(element: UnaryExpression[Any], compiler: Any, **kw: Any) -> Any:
    if element.operator is operators.neg and form_of(element.element.type).digits:
        kw["result_map_targets"] = (*kw.pop("result_map_targets", ()), element)  # as SQLAlchemy does itself
        return call(compiler, "neg", element.type, [element.element], kw)
    return compiler.visit_unary(element, **kw)


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


@compiles(Case, "sqlite")
def compile_case(element: Case[Any], compiler: Any, **kw: Any) -> Any:
    results = [result for _, result in element.whens] + ([] if element.else_ is None else [element.else_])
    compared = [] if element.value is None else [element.value, *(condition for condition, _ in element.whens)]
    if not is_encoded(element, *results, *compared):
        return compiler.visit_case(element, **kw)
    kind = element.type if is_encoded(element) else PLAIN
    subject = calculated(part.type for part in compared) if not has_duration(*compared) else DurationColumn()
    changed = case(
        *[
            (condition if element.value is None else converted(condition, subject), converted(result, kind))
            for condition, result in element.whens
        ],
        value=None if element.value is None else converted(element.value, subject),
        else_=None if element.else_ is None else converted(element.else_, kind),
    )
    return compiler.visit_case(changed, **kw)


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


class Shown(ColumnElement[str]):
    """The text of a decimal. It exists only while a statement is compiled."""

    __visit_name__ = "shown"
    inherit_cache = False

    def __init__(self, element: Any) -> None:
        self.element, self.type = element, String()


def as_text(element: Any) -> Any:
    """Return a decimal as text, and all other expressions unchanged."""
    if has_duration(element):
        as_duration(element, PLAIN)
    return Shown(element) if is_encoded(element) else element


@compiles(Shown, "sqlite")
def compile_shown(element: Shown, compiler: Any, **kw: Any) -> str:
    kind = element.element.type
    sql, form = compiler.process(element.element, **kw), form_of(kind)
    return f"decimal_of('text', '0.{kind.places if kind.is_fixed else 0}', {sql}, '{form}')"


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


@compiles(CompoundSelect, "sqlite")
def compile_compound(element: CompoundSelect[Any], compiler: Any, **kw: Any) -> Any:
    """Compile a UNION. Raises a CompileError if its columns are decimals in different forms."""
    for columns in zip(*(part.selected_columns for part in element.selects), strict=False):
        kinds = {(isinstance(type_of(column), DurationColumn), form_of(type_of(column))) for column in columns}
        if len(kinds) > 1 and not all(isinstance(bare(column), Null) for column in columns[1:]):
            raise CompileError(
                f"The statements of a UNION have {columns[0].name} with different decimal places, and SQLite stores "
                "units of the last place: write `cast(…, MoneyColumn)`, or another type, so that they are the same."
            )
    return compiler.visit_compound_select(element, **kw)


def assigned(column: Any, value: Any) -> Any:
    """Return an expression in the form that a column stores, rounded to its places; other values unchanged."""
    kind = type_of(column)
    if not isinstance(value, ColumnElement):
        return value
    if not (is_encoded(value) or isinstance(kind, ENCODED)):
        return stored_integer(kind, value)
    if isinstance(value, BindParameter) and (isinstance(value.type, NullType) or type(value.type) is type(kind)):
        return value
    if isinstance(kind, DurationColumn):
        return Converted(as_duration(value, kind), kind)
    if isinstance(kind, DecimalColumn):
        is_column = isinstance(bare(value), ColumnClause) and is_stored(type_of(value))
        return value if is_column and form_of(value.type) == kind.form else converted(value, kind, "stored")
    if isinstance(kind, Integer) and is_encoded(value):
        return Converted(value, DecimalColumn(18, 0, is_fixed=True), "stored")
    return as_text(value) if isinstance(kind, String) else converted(value, PLAIN)


def assignments(table: Any, values: Any) -> dict[Any, Any]:
    """Return the values of a statement, by column, in the forms that the columns store."""
    return {
        key: assigned(table.c.get(key if isinstance(key, str) else key.key), value)
        for key, value in dict(values).items()
    }


def by_column(table: Any, row: Any) -> Any:
    """Return the values of a row by column; they may be in the order of the columns."""
    return row if isinstance(row, dict) else zip(table.c.keys(), row, strict=False)


def with_values(statement: Any) -> Any:
    """Return an INSERT or UPDATE whose expressions have the forms of their columns."""
    values = statement._values or {}  # no public attribute has the values of a statement
    stored = assignments(statement.table, values)
    if all(stored[key] is value for key, value in values.items()):
        return statement
    changed = copy(statement)
    changed._values = stored
    return changed


@compiles(Update, "sqlite")
def compile_update(element: Update, compiler: Any, **kw: Any) -> Any:
    return compiler.visit_update(with_values(element), **kw)


@compiles(Insert, "sqlite")
def compile_insert(element: Insert, compiler: Any, **kw: Any) -> Any:
    changed = with_values(element)
    clause = getattr(element, "_post_values_clause", None)
    if element._multi_values or element.select is not None or isinstance(clause, OnConflictDoUpdate):
        changed = copy(changed)
    if element._multi_values:
        changed._multi_values = tuple(
            [assignments(element.table, by_column(element.table, row)) for row in rows]
            for rows in element._multi_values
        )
    if element.select is not None:
        changed.select = selected(element)
    if isinstance(clause, OnConflictDoUpdate):
        changed._post_values_clause = copy(clause)
        changed._post_values_clause.update_values_to_set = assignments(element.table, clause.update_values_to_set)
    return compiler.visit_insert(changed, **kw)


def selected(statement: Any) -> Any:
    """Return the SELECT of an INSERT, with its columns in the forms of those of the table."""
    targets = [statement.table.c.get(name) for name in statement._select_names]
    columns = list(statement.select.selected_columns)
    stored = [assigned(target, column) for target, column in zip(targets, columns, strict=False)]
    if all(new is old for new, old in zip(stored, columns, strict=False)):
        return statement.select
    source = statement.select
    if isinstance(source, Select):  # its columns may have no names
        named = [column.label(f"kit_{number}") for number, column in enumerate(columns)]
        source = source.with_only_columns(*named, maintain_column_froms=True)
    inner = source.subquery().c  # the subquery of an integer takes no aggregates
    return select(*(assigned(target, column) for target, column in zip(targets, inner, strict=False)))
