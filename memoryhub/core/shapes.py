"""Shapes of JSON responses: one type says what a function builds, and OpenAPI is generated from the same type."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import Field

Shape = TypeVar("Shape")


@dataclass(frozen=True)
class DocumentedAs:
    """Annotation of a plain dict: OpenAPI describes it as `shape`, a TypedDict or a dataclass."""

    shape: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.shape)


def select_fields(shape: type[Shape], values: Mapping[str, Any]) -> Shape:
    """Return the required fields of the TypedDict `shape` from `values`, in the order of their declaration."""
    required_names: frozenset[str] = shape.__required_keys__  # type: ignore[attr-defined]
    return cast("Shape", {name: values[name] for name in shape.__annotations__ if name in required_names})


def one_value_of(values: Iterable[str], description: str = "") -> Any:
    """Annotation of a text field: the values that it can have."""
    return Field(json_schema_extra={"enum": list(values)}, description=description or None)
