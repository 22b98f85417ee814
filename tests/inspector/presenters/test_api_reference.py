import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from inspector.presenters.api_reference import (
    ApiReference,
    Content,
    Operation,
    SchemaField,
    Shape,
    parse_openapi,
    render_prose,
)
from tests.inspector.clients import client_for_new_user

ORIGIN = "http://hub.test:8000"
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}


def make_document(operation: Mapping[str, Any], *, method: str = "get", path: str = "/api/things", **parts: Any) -> Any:
    """A document of one operation; what is not given of it is there and dull."""
    whole_operation = {"operationId": "things", "responses": {}, **operation}
    return {"info": {"title": "Hub", "version": "1"}, "paths": {path: {method: whole_operation}}, **parts}


def only_operation(operation: Mapping[str, Any], **parts: Any) -> Operation:
    (operation_read,) = parse_openapi(make_document(operation, **parts), origin=ORIGIN).operations
    return operation_read


def make_shape(schema: Any, **schemas: Any) -> Shape:
    operation = {"parameters": [{"name": "it", "in": "query", "schema": schema}]}
    return only_operation(operation, components={"schemas": schemas}).parameters[0].shape


def make_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def make_body(schema: Any) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


def field_names(fields: tuple[SchemaField, ...]) -> list[str]:
    return [field.name for field in fields]


class TestShapes:
    @pytest.mark.parametrize(
        ("schema", "expected_text"),
        [
            ({"type": "string"}, "string"),
            ({"type": "string", "format": "date-time"}, "string (date-time)"),
            ({"type": ["string", "null"], "format": "uuid"}, "string (uuid) or null"),
            ({"type": ["string", "integer"]}, "string or integer"),
            ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
            ({"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}, "integer or string or null"),
            ({"type": "array", "items": {"type": "number"}}, "list of number"),
            ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
            ({"type": "object", "additionalProperties": True, "title": "Metadata"}, "object"),
            ({"type": "object", "properties": {"a": {}}, "title": "Envelope"}, "Envelope"),
            ({}, "any"),
            (True, "any"),
        ],
    )
    def test_have_a_type_in_words(self, schema: Any, expected_text: str) -> None:
        assert make_shape(schema).type == expected_text

    @pytest.mark.parametrize(
        ("schema", "expected_texts"),
        [
            ({"type": "string", "minLength": 1, "maxLength": 255}, ["1 to 255 characters"]),
            ({"type": "string", "maxLength": 255, "default": ""}, ["at most 255 characters"]),
            ({"type": "integer", "minimum": 1, "default": 20}, ["at least 1", "default 20"]),
            ({"type": "integer", "minimum": 1, "maximum": 32767}, ["1 to 32,767"]),
            ({"type": "boolean", "default": False}, ["default false"]),
            ({"enum": ["a", 1, None]}, ["one of a, 1"]),
            ({"const": 2}, ["always 2"]),
            ({"type": "string", "pattern": "^x$"}, ["matches ^x$"]),
            ({"maxItems": 9, "items": {"maxLength": 8}}, ["at most 9 items", "each at most 8 characters"]),
            ({"type": "object", "additionalProperties": False}, ["no other fields"]),
            ({"default": None}, []),
        ],
    )  # fmt: skip
    def test_have_limits_in_words(self, schema: Any, expected_texts: list[str]) -> None:
        assert list(make_shape(schema).limits) == expected_texts

    def test_take_their_fields_from_what_they_refer_to(self) -> None:
        thing = {"type": "object", "properties": {"id": {"type": "string"}, "size": {}}, "required": ["id"]}

        array_shape = make_shape({"type": "array", "items": make_ref("Thing")}, Thing=thing)

        assert array_shape.type == "list of Thing"
        assert [(field.name, field.is_required) for field in array_shape.fields] == [("id", True), ("size", False)]

    def test_follow_a_reference_that_may_be_null_or_is_described_anew(self) -> None:
        thing = {"type": "object", "description": "A thing.", "properties": {"id": {}}}

        nullable = make_shape({"oneOf": [make_ref("Thing"), {"type": "null"}]}, Thing=thing)
        described = make_shape({"allOf": [make_ref("Thing")], "description": "This one."}, Thing=thing)

        assert (nullable.type, nullable.description, field_names(nullable.fields)) == (
            "Thing or null",
            "A thing.",
            ["id"],
        )
        assert (described.type, described.description) == ("Thing", "This one.")

    def test_gather_what_all_their_parts_say(self) -> None:
        parts = [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]

        merged_shape = make_shape({"allOf": parts, "properties": {"c": {}}})

        assert [(field.name, field.is_required) for field in merged_shape.fields] == [
            ("a", True),
            ("b", True),
            ("c", False),
        ]

    @pytest.mark.parametrize(
        "inner_schema",
        [
            make_ref("Tree"),
            {"type": "array", "items": make_ref("Tree")},
            {"additionalProperties": make_ref("Tree")},
            {"oneOf": [make_ref("Tree"), {"type": "null"}]},
            {"oneOf": [make_ref("Tree"), {"type": "string"}]},
            {"allOf": [make_ref("Tree")], "description": "The same again."},
            {"properties": {"deeper": make_ref("Tree")}},
            make_ref("Branch"),
        ],
    )
    def test_that_stand_inside_themselves_end(self, inner_schema: Any) -> None:
        tree = {
            "type": "object",
            "properties": {"name": {"type": "string"}, "child": inner_schema},
            "required": ["child"],
        }
        branch = {"type": "object", "properties": {"tree": make_ref("Tree")}, "required": ["tree"]}

        schemas = {"Tree": tree, "Branch": branch}
        tree_shape = make_shape(make_ref("Tree"), **schemas)
        example = only_operation(make_body(make_ref("Tree")), method="post", components={"schemas": schemas}).example

        assert any("as above" in inner_shape.limits for inner_shape in walk_shapes(tree_shape.fields[1].shape))
        assert "--data" in example

    def test_that_only_refer_to_each_other_end(self) -> None:
        assert make_shape(make_ref("A"), A=make_ref("B"), B=make_ref("A")).type == "A"

    def test_of_a_reference_that_leads_nowhere_are_anything(self) -> None:
        assert make_shape(make_ref("Nobody")).type == "any"
        assert make_shape({"$ref": "https://elsewhere.test/schema.json"}).type == "any"


def walk_shapes(root_shape: Shape) -> Iterator[Shape]:
    yield root_shape
    for inner_shape in (*(field.shape for field in root_shape.fields), *root_shape.variants):
        yield from walk_shapes(inner_shape)


class TestOperations:
    def test_list_their_parameters_and_those_of_their_path(self) -> None:
        api_document = make_document(
            {"parameters": [{"name": "a", "in": "query", "description": "Ours.", "schema": {}}]}
        )
        api_document["paths"]["/api/things"]["parameters"] = [
            {"name": "a", "in": "query", "description": "Theirs."},
            {"$ref": "#/components/parameters/id"},
        ]
        api_document["components"] = {"parameters": {"id": {"name": "id", "in": "path", "required": True}}}

        parameters = parse_openapi(api_document, origin=ORIGIN).operations[0].parameters

        assert [(field.name, field.location, field.is_required) for field in parameters] == [
            ("a", "query", False),
            ("id", "path", True),
        ]
        assert parameters[0].shape.description == "Ours."

    def test_put_together_the_statuses_that_look_alike(self) -> None:
        problem = {"content": {"application/problem+json": {"schema": make_ref("Problem")}}}
        empty_response = {"description": "Nothing.", "content": {}}
        responses = {
            "503": problem,
            "200": {"content": {"application/json": {}}},
            "400": problem,
            "204": empty_response,
        }

        api_document = make_document({"responses": responses}, components={"schemas": {"Problem": PROBLEM}})
        reference = parse_openapi(api_document, origin=ORIGIN)

        response_groups = reference.operations[0].response_groups
        assert [[status.code for status in response.statuses] for response in response_groups] == [
            ["200"],
            ["204"],
            ["400", "503"],
        ]
        assert [response.is_problem for response in response_groups] == [False, False, True]
        assert response_groups[1].description == "Nothing."
        assert [status.phrase for status in response_groups[2].statuses] == ["Bad Request", "Service Unavailable"]
        assert reference.problem == response_groups[2].contents[0].shape

    def test_know_a_status_that_is_none_of_http(self) -> None:
        statuses = only_operation({"responses": {"default": {}, "299": {}}}).response_groups[0].statuses

        assert [(status.code, status.phrase) for status in statuses] == [("299", ""), ("default", "")]

    def test_need_a_key_where_they_or_the_document_say_so(self) -> None:
        security_fields: dict[str, Any] = {"security": [{"key": []}]}

        assert not only_operation({}).needs_key
        assert only_operation(security_fields).needs_key
        assert only_operation({}, **security_fields).needs_key
        assert not only_operation({"security": []}, **security_fields).needs_key


class TestExamples:
    def test_name_the_key_and_what_stands_in_the_path(self) -> None:
        example = only_operation({"security": [{"key": []}]}, path="/api/things/{thing_id}", method="delete").example

        assert example.replace(" \\\n ", "") == (
            'curl "http://hub.test:8000/api/things/$THING_ID" --request DELETE --header "Authorization: Bearer $KEY"'
        )

    def test_ask_for_what_must_be_given_and_what_holds_anyway(self) -> None:
        parameters = [
            {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 20}},
            {"name": "tier", "in": "query", "schema": {"enum": ["public"]}},
            {"name": "any", "in": "query", "schema": True},
        ]

        assert (
            only_operation({"parameters": parameters}).example
            == 'curl "http://hub.test:8000/api/things?q=example&limit=20"'
        )

    def test_send_the_least_that_is_taken_and_the_shell_leaves_it_alone(self) -> None:
        schema = {
            "properties": {
                "name": {"type": "string", "example": "it's $HOME `x` \\ \N{SNOWMAN}"},
                "kind": {"enum": ["fact", "summary"]},
                "at": {"type": "string", "format": "date-time"},
                "size": {"type": "integer", "minimum": 3},
                "is_new": {"type": "boolean"},
                "labels": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "more": {"type": "array", "items": {}},
                "unneeded": {"type": "string"},
            },
            "type": "object",
            "required": ["name", "kind", "at", "size", "is_new", "labels", "more"],
        }
        example = only_operation(
            make_body({"oneOf": [schema, {"type": "array", "items": schema}]}), method="post"
        ).example

        process = subprocess.run(
            ["bash", "-c", example.replace("curl", "printf '%s\\n'")], capture_output=True, text=True, check=True
        )

        assert process.stdout.splitlines() == [
            "http://hub.test:8000/api/things",
            "--header",
            "Content-Type: application/json",
            "--data",
            '{"name": "it\'s $HOME `x` \\\\ \N{SNOWMAN}", "kind": "fact", "at": "2026-03-01T12:30:00Z", "size": 3, '
            '"is_new": false, "labels": ["example"], "more": []}',
        ]


def test_prose_is_text_but_for_code() -> None:
    assert render_prose(" Give `next_cursor`, <b>not</b> `<i>`. ") == (
        "Give <code>next_cursor</code>, &lt;b&gt;not&lt;/b&gt; <code>&lt;i&gt;</code>."
    )
    assert render_prose("") == ""


@pytest.fixture(scope="module")
def hub_document() -> Any:
    return SchemaGenerator().get_schema(public=True)


def test_everything_the_real_document_says_is_read(hub_document: Any) -> None:
    reference: ApiReference = parse_openapi(hub_document, origin=ORIGIN)

    routes = {(path, method.upper()) for path, item in hub_document["paths"].items() for method in item}
    assert {(operation.path, operation.method) for operation in reference.operations} == routes
    assert reference.problem is not None
    assert {"code", "detail", "request_id"} <= set(field_names(reference.problem.fields))
    write_operation = next(operation for operation in reference.operations if operation.id == "memories_write")
    single_variant, array_variant = request_content(write_operation).shape.variants
    assert single_variant.fields == array_variant.fields
    # An update may leave the content out.
    assert {field.name for field in single_variant.fields if field.is_required} == {"payload_id"}
    assert array_variant.limits == ("at most 1,000 items", "each no other fields")


def request_content(operation: Operation) -> Content:
    (content,) = operation.body
    return content


def test_anybody_may_read_the_page_and_nothing_is_asked_of_the_database() -> None:
    """No database mark: any query would fail this test."""
    response = Client().get("/api/docs")
    page = response.content.decode()

    assert response.status_code == 200
    assert "Sign out" not in page
    assert 'href="/sign-in?next=/api/docs"' in page
    assert response["Cache-Control"] == "private, no-store"
    assert "Cookie" in response["Vary"]


def test_the_page_has_every_operation_under_its_own_address(hub_document: Any) -> None:
    page = Client().get("/api/docs").content.decode()

    for operation in parse_openapi(hub_document, origin="http://testserver").operations:
        assert page.count(f'id="{operation.id}"') == 1
        assert page.count(f'href="#{operation.id}"') == 2
    assert 'href="/api/schema"' in page
    assert len(set(ids := re.findall(r'\sid="([^"]*)"', page))) == len(ids)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_the_examples_call_the_hub_that_shows_them() -> None:
    page = Client().get("/api/docs", headers={"Host": "localhost:8131"}).content.decode()

    addresses = re.findall(r"curl &quot;([^&?]*)", page)
    assert addresses
    assert {urlsplit(url).netloc for url in addresses} == {"localhost:8131"}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_the_page_is_only_read(method: str) -> None:
    response = getattr(Client(enforce_csrf_checks=True), method)("/api/docs")

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_the_page_stands_among_the_others_of_a_reader() -> None:
    client = client_for_new_user(max_tier="internal")
    page, home = (client.get(path).content.decode() for path in ("/api/docs", "/"))

    assert "Sign out" in page
    assert "internal" in page
    assert list_main_links(page) == list_main_links(home)
    assert set(re.findall(r'<a href="([^"]*)"[^>]* aria-current="page"', main_html(page))) == {"/api/docs"}


def main_html(page: str) -> str:
    nav_match = re.search(r'<nav aria-label="Main".*?</nav>', page, re.DOTALL)
    assert nav_match
    return nav_match[0]


def list_main_links(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)', main_html(page))
