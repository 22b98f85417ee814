"""Expressions of general use, and functions for SQL that is written around compiled querysets."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, models
from django.db.models import BooleanField, Func, Value
from django.db.models.sql import Query


class LateralColumn(Func):
    """A column of a table alias in the SQL around a compiled queryset, such as `keys.subject` of a lateral join."""

    output_field = models.Field()
    template = "%(alias)s.%(name)s"

    def __init__(self, alias: str, name: str) -> None:
        super().__init__(alias=alias, name=name)


def match_columns(alias: str, names: Sequence[str]) -> dict[str, LateralColumn]:
    """Return filters for the rows whose columns `names` equal those of `alias`."""
    return {name: LateralColumn(alias, name) for name in names}


class EqualsAny(Func):
    """`value = ANY (array)`, which can use an index on the value.

    No planner knows the length of an array that a subquery returns, so the number of hidden rows does not influence
    the plan.
    """

    output_field = BooleanField()
    template = "%(expressions)s)"
    arg_joiner = " = ANY ("


class Contains(Func):
    """`array @> array`, which can use a GIN index on the first one."""

    output_field = BooleanField()
    arg_joiner = " @> "
    template = "%(expressions)s"


class RowComparison(Func):
    """`(column, …) < (value, …)` or with another operator, for keysets: one range of an index on these columns."""

    output_field = BooleanField()
    template = "(%(columns)s) %(operator)s (%(expressions)s)"

    def __init__(self, columns: Sequence[str], operator: str, values: Sequence[Any]) -> None:
        expressions = [value if hasattr(value, "resolve_expression") else Value(value) for value in values]
        super().__init__(*expressions, columns=", ".join(columns), operator=operator)


def compile_sql(queryset: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    """Return the SQL of a queryset and its parameters."""
    # A query that can match nothing, such as one without any tier, is compiled all the same: it returns a count of 0.
    sql, params = queryset.query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return sql, list(params)


def compile_expression(expression: Func) -> tuple[str, list[Any]]:
    """Return the SQL of an expression that refers to no column of a model, and its parameters."""
    compiler = Query(None).get_compiler(connection=connection)
    sql, params = compiler.compile(expression)
    return sql, list(params)


def fetch_dicts(sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    """Run `sql` and return its rows as dicts by column name."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
