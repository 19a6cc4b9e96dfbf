"""Operators on SQLite over decimals and durations: comparisons, arithmetic, CASE, and UNION."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Null, ScalarSelect, Tuple, case, tuple_
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, Case, ClauseList, ExpressionClauseList, UnaryExpression

from kit.models.columns import DurationColumn
from kit.models.sqlite_forms import (
    PLAIN,
    as_duration,
    as_text,
    bare,
    calculated,
    call,
    converted,
    form_of,
    has_duration,
    is_encoded,
    shifted,
    type_of,
)

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
