"""Extensions of drf-spectacular: one document per process, the ways to authenticate, and the shapes of responses."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.plumbing import ResolvedComponent
from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

_REF_TEMPLATE = "#/components/schemas/{model}"
_CONFIG = ConfigDict(use_attribute_docstrings=True)


class CachedSchemaGenerator(SchemaGenerator):
    """Generates the document of `/api/schema`, once for each process.

    That takes a second of CPU, and everybody may ask for the document, which depends on the code alone.
    """

    def get_schema(self, request: Any = None, public: bool = False) -> Mapping[str, Any]:
        return _build_document()


@cache
def _build_document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return document


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memoryhub.api.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "memoryhub.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class _ResponseSchemaGenerator(GenerateJsonSchema):
    def field_is_required(self, field: Any, total: bool) -> bool:
        """Whether a response always has this field. A dataclass has its fields even if they have defaults."""
        return bool(field["type"] == "dataclass-field" or super().field_is_required(field, total))

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class ResponseShape(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Generates the schema of a response from its type, a TypedDict or a dataclass; nested types are components."""

    @classmethod
    def _matches(cls, target: Any) -> bool:
        return isinstance(target, type) and (hasattr(target, "__total__") or hasattr(target, "__dataclass_fields__"))

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        return str(self.target.__name__)

    def get_identity(self, auto_schema: Any, direction: Any) -> str:
        return self.get_name(auto_schema, direction)

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        # Inside a list the type itself is one of the definitions, as the nested types are.
        adapter: TypeAdapter[Any] = TypeAdapter(list[self.target], config=_CONFIG)  # type: ignore[name-defined]
        definitions = adapter.json_schema(
            mode="serialization", ref_template=_REF_TEMPLATE, schema_generator=_ResponseSchemaGenerator
        )["$defs"]
        schema = definitions.pop(self.target.__name__)
        for name, definition in definitions.items():
            auto_schema.registry.register_on_missing(
                ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=definition, object=name)  # type: ignore[no-untyped-call]
            )
        return schema
