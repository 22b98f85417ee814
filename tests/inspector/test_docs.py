import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from inspector.docs import Content, Field, Operation, Reference, Shape, prose, read
from tests.inspector.pages import signed_in

ORIGIN = "http://hub.test:8000"
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}


def document(operation: Mapping[str, Any], *, method: str = "get", path: str = "/api/things", **parts: Any) -> Any:
    """A document of one operation; what is not given of it is there and dull."""
    whole = {"operationId": "things", "responses": {}, **operation}
    return {"info": {"title": "Hub", "version": "1"}, "paths": {path: {method: whole}}, **parts}


def only(operation: Mapping[str, Any], **parts: Any) -> Operation:
    (found,) = read(document(operation, **parts), origin=ORIGIN).operations
    return found


def shape(schema: Any, **schemas: Any) -> Shape:
    operation = {"parameters": [{"name": "it", "in": "query", "schema": schema}]}
    return only(operation, components={"schemas": schemas}).parameters[0].shape


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def body(schema: Any) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


def names(fields: tuple[Field, ...]) -> list[str]:
    return [field.name for field in fields]


class TestShapes:
    @pytest.mark.parametrize(
        ("schema", "told"),
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
    def test_have_a_type_in_words(self, schema: Any, told: str) -> None:
        assert shape(schema).type == told

    @pytest.mark.parametrize(
        ("schema", "told"),
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
    def test_have_limits_in_words(self, schema: Any, told: list[str]) -> None:
        assert list(shape(schema).limits) == told

    def test_take_their_fields_from_what_they_refer_to(self) -> None:
        thing = {"type": "object", "properties": {"id": {"type": "string"}, "size": {}}, "required": ["id"]}

        found = shape({"type": "array", "items": ref("Thing")}, Thing=thing)

        assert found.type == "list of Thing"
        assert [(field.name, field.is_required) for field in found.fields] == [("id", True), ("size", False)]

    def test_follow_a_reference_that_may_be_null_or_is_described_anew(self) -> None:
        thing = {"type": "object", "description": "A thing.", "properties": {"id": {}}}

        nullable = shape({"oneOf": [ref("Thing"), {"type": "null"}]}, Thing=thing)
        described = shape({"allOf": [ref("Thing")], "description": "This one."}, Thing=thing)

        assert (nullable.type, nullable.description, names(nullable.fields)) == ("Thing or null", "A thing.", ["id"])
        assert (described.type, described.description) == ("Thing", "This one.")

    def test_gather_what_all_their_parts_say(self) -> None:
        parts = [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]

        found = shape({"allOf": parts, "properties": {"c": {}}})

        assert [(field.name, field.is_required) for field in found.fields] == [("a", True), ("b", True), ("c", False)]

    @pytest.mark.parametrize(
        "inner",
        [
            ref("Tree"),
            {"type": "array", "items": ref("Tree")},
            {"additionalProperties": ref("Tree")},
            {"oneOf": [ref("Tree"), {"type": "null"}]},
            {"oneOf": [ref("Tree"), {"type": "string"}]},
            {"allOf": [ref("Tree")], "description": "The same again."},
            {"properties": {"deeper": ref("Tree")}},
            ref("Branch"),
        ],
    )
    def test_that_stand_inside_themselves_end(self, inner: Any) -> None:
        tree = {"type": "object", "properties": {"name": {"type": "string"}, "child": inner}, "required": ["child"]}
        branch = {"type": "object", "properties": {"tree": ref("Tree")}, "required": ["tree"]}

        schemas = {"Tree": tree, "Branch": branch}
        found = shape(ref("Tree"), **schemas)
        example = only(body(ref("Tree")), method="post", components={"schemas": schemas}).example

        assert any("as above" in each.limits for each in walk(found.fields[1].shape))
        assert "--data" in example

    def test_that_only_refer_to_each_other_end(self) -> None:
        assert shape(ref("A"), A=ref("B"), B=ref("A")).type == "A"

    def test_of_a_reference_that_leads_nowhere_are_anything(self) -> None:
        assert shape(ref("Nobody")).type == "any"
        assert shape({"$ref": "https://elsewhere.test/schema.json"}).type == "any"


def walk(found: Shape) -> Iterator[Shape]:
    yield found
    for inner in (*(field.shape for field in found.fields), *found.variants):
        yield from walk(inner)


class TestOperations:
    def test_tell_their_parameters_and_those_of_their_path(self) -> None:
        given = document({"parameters": [{"name": "a", "in": "query", "description": "Ours.", "schema": {}}]})
        given["paths"]["/api/things"]["parameters"] = [
            {"name": "a", "in": "query", "description": "Theirs."},
            {"$ref": "#/components/parameters/id"},
        ]
        given["components"] = {"parameters": {"id": {"name": "id", "in": "path", "required": True}}}

        found = read(given, origin=ORIGIN).operations[0].parameters

        assert [(field.name, field.place, field.is_required) for field in found] == [
            ("a", "query", False),
            ("id", "path", True),
        ]
        assert found[0].shape.description == "Ours."

    def test_put_together_the_statuses_that_look_alike(self) -> None:
        problem = {"content": {"application/problem+json": {"schema": ref("Problem")}}}
        gone = {"description": "Nothing.", "content": {}}
        responses = {"503": problem, "200": {"content": {"application/json": {}}}, "400": problem, "204": gone}

        given = document({"responses": responses}, components={"schemas": {"Problem": PROBLEM}})
        found = read(given, origin=ORIGIN)

        answers = found.operations[0].answers
        assert [[status.code for status in answer.statuses] for answer in answers] == [["200"], ["204"], ["400", "503"]]
        assert [answer.is_problem for answer in answers] == [False, False, True]
        assert answers[1].description == "Nothing."
        assert [status.phrase for status in answers[2].statuses] == ["Bad Request", "Service Unavailable"]
        assert found.problem == answers[2].contents[0].shape

    def test_know_a_status_that_is_none_of_http(self) -> None:
        found = only({"responses": {"default": {}, "299": {}}}).answers[0].statuses

        assert [(status.code, status.phrase) for status in found] == [("299", ""), ("default", "")]

    def test_need_a_key_where_they_or_the_document_say_so(self) -> None:
        secured: dict[str, Any] = {"security": [{"key": []}]}

        assert not only({}).needs_key
        assert only(secured).needs_key
        assert only({}, **secured).needs_key
        assert not only({"security": []}, **secured).needs_key


class TestExamples:
    def test_name_the_key_and_what_stands_in_the_path(self) -> None:
        example = only({"security": [{"key": []}]}, path="/api/things/{thing_id}", method="delete").example

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

        assert only({"parameters": parameters}).example == 'curl "http://hub.test:8000/api/things?q=example&limit=20"'

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
        example = only(body({"oneOf": [schema, {"type": "array", "items": schema}]}), method="post").example

        said = subprocess.run(
            ["bash", "-c", example.replace("curl", "printf '%s\\n'")], capture_output=True, text=True, check=True
        )

        assert said.stdout.splitlines() == [
            "http://hub.test:8000/api/things",
            "--header",
            "Content-Type: application/json",
            "--data",
            '{"name": "it\'s $HOME `x` \\\\ \N{SNOWMAN}", "kind": "fact", "at": "2026-03-01T12:30:00Z", "size": 3, '
            '"is_new": false, "labels": ["example"], "more": []}',
        ]


def test_prose_is_text_but_for_code() -> None:
    assert prose(" Give `next_cursor`, <b>not</b> `<i>`. ") == (
        "Give <code>next_cursor</code>, &lt;b&gt;not&lt;/b&gt; <code>&lt;i&gt;</code>."
    )
    assert prose("What became of it.\n\n* `created` - created\n* `refused` - refused") == "What became of it."
    assert prose("") == ""


@pytest.fixture(scope="module")
def described() -> Any:
    return SchemaGenerator().get_schema(public=True)


def test_everything_the_real_document_says_is_read(described: Any) -> None:
    found: Reference = read(described, origin=ORIGIN)

    routes = {(path, method.upper()) for path, item in described["paths"].items() for method in item}
    assert {(operation.path, operation.method) for operation in found.operations} == routes
    assert found.problem is not None
    assert {"code", "detail", "request_id"} <= set(names(found.problem.fields))
    write = next(operation for operation in found.operations if operation.id == "memories_write")
    one, many = body_of(write).shape.variants
    assert one.fields == many.fields
    # An update may leave the content out.
    assert {field.name for field in one.fields if field.is_required} == {"payload_id"}
    assert many.limits == ("at most 1,000 items", "each no other fields")


def body_of(operation: Operation) -> Content:
    (content,) = operation.body
    return content


def test_anybody_may_read_the_page_and_nothing_is_asked_of_the_database() -> None:
    """No database mark: any query would fail this test."""
    answer = Client().get("/api/docs")
    page = answer.content.decode()

    assert answer.status_code == 200
    assert "Sign out" not in page
    assert 'href="/sign-in?next=/api/docs"' in page
    assert answer["Cache-Control"] == "private, no-store"
    assert "Cookie" in answer["Vary"]


def test_the_page_has_every_operation_under_its_own_address(described: Any) -> None:
    page = Client().get("/api/docs").content.decode()

    for operation in read(described, origin="http://testserver").operations:
        assert page.count(f'id="{operation.id}"') == 1
        assert page.count(f'href="#{operation.id}"') == 2
    assert 'href="/api/schema"' in page
    assert len(set(ids := re.findall(r'\sid="([^"]*)"', page))) == len(ids)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_the_examples_call_the_hub_that_tells_them() -> None:
    page = Client().get("/api/docs", headers={"Host": "localhost:8131"}).content.decode()

    addresses = re.findall(r"curl &quot;([^&?]*)", page)
    assert addresses
    assert {urlsplit(address).netloc for address in addresses} == {"localhost:8131"}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_the_page_is_only_read(method: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)("/api/docs")

    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_the_page_stands_among_the_others_of_a_reader() -> None:
    client = signed_in(max_tier="internal")
    page, home = (client.get(path).content.decode() for path in ("/api/docs", "/"))

    assert "Sign out" in page
    assert "internal" in page
    assert main_links(page) == main_links(home)
    assert set(re.findall(r'<a href="([^"]*)"[^>]* aria-current="page"', main(page))) == {"/api/docs"}


def main(page: str) -> str:
    found = re.search(r'<nav aria-label="Main".*?</nav>', page, re.DOTALL)
    assert found
    return found[0]


def main_links(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)', main(page))
