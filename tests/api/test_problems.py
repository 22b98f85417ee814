"""Errors are data: whatever goes wrong leaves the API as a problem that gives nothing away (FW-18)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection
from django.test import Client
from psycopg import errors, pq, sql
from structlog.testing import capture_logs

from memoryhub.core.errors import INTERNAL, CommitOutcomeUnknownError, classify_error, find_sqlstate
from memoryhub.memories import pagination
from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.factories import envelope, make_key, make_memory, make_user
from tests.harness.databases import database_dsn

JSON = "application/json"
UNKNOWN = "/api/memories/00000000-0000-4000-8000-000000000000"
TOO_LONG = str(settings.APP_CONFIG.max_body_bytes + 1)

# (method, path, body, headers) → (status, code)
ERROR_CASES: list[tuple[str, str, str, dict[str, str], int, str]] = [
    ("GET", "/api/memories?tier=x", "", {}, 400, "invalid_parameter"),
    ("GET", "/api/memories?cursor=x", "", {}, 400, "invalid_cursor"),
    ("GET", "/api/memories?limit=x", "", {}, 400, "invalid_parameter"),
    ("GET", "/api/memories?" + "&".join(f"p{n}=1" for n in range(10_000)), "", {}, 400, "bad_request"),
    ("GET", UNKNOWN, "", {}, 404, "not_found"),
    ("GET", UNKNOWN + "/versions", "", {}, 404, "not_found"),
    ("GET", "/api/memories/1", "", {}, 404, "not_found"),
    ("GET", "/api/", "", {}, 404, "not_found"),
    ("GET", "/api/nothing", "", {}, 404, "not_found"),
    ("POST", "/api/nothing", "{}", {}, 404, "not_found"),
    ("GET", "/api/memories/", "", {}, 404, "not_found"),
    ("GET", "/api/memories", "", {"HTTP_AUTHORIZATION": "Bearer no"}, 401, "unauthorized"),
    ("GET", "/api/memories", "", {"HTTP_HOST": "evil.example"}, 400, "bad_request"),
    ("DELETE", "/api/memories", "", {}, 405, "method_not_allowed"),
    ("PATCH", UNKNOWN, "{}", {}, 405, "method_not_allowed"),
    ("POST", "/api/facets", "{}", {}, 405, "method_not_allowed"),
    ("POST", "/ready", "{}", {}, 405, "method_not_allowed"),
    ("POST", "/health", "{}", {}, 405, "method_not_allowed"),
    ("POST", "/api/memories", "", {}, 400, "invalid_value"),
    ("POST", "/api/memories", "{", {}, 400, "invalid_json"),
    ("POST", "/api/memories", '{"a": 1, "a": 2}', {}, 400, "duplicate_key"),
    ("POST", "/api/memories", "[" * 5_000, {}, 400, "too_deep"),
    ("POST", "/api/memories", '{"content": "x"}', {}, 400, "invalid_value"),
    ("POST", "/api/memories", '{"payload_id": "a", "content": "x", "x": 1}', {}, 400, "unknown_field"),
    ("POST", "/api/memories", '{"payload_id": "a", "content": "x", "source": "b"}', {}, 403, "source_mismatch"),
    ("POST", "/api/memories", '{"payload_id": "p", "content": "x"}', {}, 409, "payload_id_conflict"),
    ("POST", "/api/memories", "{}", {"CONTENT_TYPE": "text/xml"}, 415, "unsupported_media_type"),
    ("POST", "/api/memories", "{}", {"HTTP_CONTENT_ENCODING": "gzip"}, 415, "unsupported_media_type"),
    ("POST", "/api/memories", "{}", {"CONTENT_LENGTH": TOO_LONG}, 413, "too_large"),
    ("POST", "/api/memories", "{}", {"CONTENT_LENGTH": "9" * 5_000}, 413, "too_large"),
    ("POST", "/api/memories", "{}", {"CONTENT_LENGTH": "",
    "HTTP_TRANSFER_ENCODING": "chunked"}, 411, "length_required"),
]  # fmt: skip


@pytest.fixture
def key() -> str:
    return make_key(scopes="read write", clearance={"max_tier": "restricted"})


def send(key: str, method: str, path: str, body: str = "", **headers: str) -> Any:
    extra: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {key}", **headers}
    caller = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return caller.generic(method, path, body, extra.pop("CONTENT_TYPE", JSON), **extra)


@pytest.mark.django_db
@pytest.mark.parametrize("case", ERROR_CASES, ids=lambda case: f"{case[5]}-{case[0]}-{case[1][:40]}")
def test_every_refusal_is_a_problem_with_a_stable_code(key, case):
    method, path, body, headers, status, code = case
    make_memory(payload_id="p")

    assert_problem(send(key, method, path, body, **headers), status, code)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"]
)
def test_a_form_is_refused_from_a_signed_in_user_too(kind):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(make_user("ada", scopes="admin"), "django.contrib.auth.backends.ModelBackend")
    client.cookies["csrftoken"] = "a" * 32
    many_fields = "&".join(f"f{n}=1" for n in range(10_000))

    assert_problem(client.generic("POST", "/api/memories", many_fields, kind), 415, "unsupported_media_type")


SQLSTATE_CASES = {
    "22001": (400, "invalid_value"), "22003": (400, "invalid_value"), "22008": (400, "invalid_value"),
    "22021": (400, "invalid_value"), "22P02": (400, "invalid_value"), "22P05": (400, "invalid_value"),
    "54000": (413, "too_large"), "54001": (413, "too_large"),
    "40001": (503, "serialization"), "40P01": (503, "serialization"),
    "55P03": (503, "busy"), "57014": (503, "query_timeout"),
    "25P03": (503, "query_timeout"), "25P04": (503, "query_timeout"),
    "53100": (503, "disk_full"), "53300": (503, "too_many_connections"),
    "53200": (503, "out_of_resources"), "53400": (503, "out_of_resources"),
    "08006": (503, "database_unavailable"), "57P01": (503, "database_unavailable"),
    "57P02": (503, "database_unavailable"),
    "57P03": (503, "database_unavailable"), "25006": (503, "read_only"),
    "23505": (500, "internal"), "42601": (500, "internal"), "42P01": (500, "internal"), "XX000": (500, "internal"),
}  # fmt: skip
SECRET_DETAIL = 'Key (payload_id)=(secret) violates constraint "memories_identity"'


def _chained_error(cause: BaseException, wrapper_class: type[Exception]) -> Exception:
    try:
        raise wrapper_class(SECRET_DETAIL) from cause
    except wrapper_class as error:
        return error


@pytest.mark.parametrize("state", SQLSTATE_CASES)
def test_each_state_of_the_database_has_its_answer(state):
    fault = classify_error(_chained_error(errors.lookup(state)(SECRET_DETAIL), DatabaseError))

    assert (fault.status, fault.code) == SQLSTATE_CASES[state]
    assert (fault.retry_after_seconds is not None) == (fault.status == 503)


def test_no_state_of_the_database_gives_anything_away():
    error_types = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, psycopg.Error)]
    assert len(error_types) > 200
    for kind in error_types:
        fault = classify_error(_chained_error(kind(SECRET_DETAIL), DatabaseError))
        assert fault.status in (400, 413, 500, 503)
        assert (fault.status == 503) == bool(fault.retry_after_seconds)
        assert "secret" not in fault.detail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("connection failed"), "database_unavailable"),
        (InterfaceError("connection already closed"), "database_unavailable"),
        (psycopg.OperationalError("server closed the connection"), "database_unavailable"),
        (_chained_error(psycopg.OperationalError("consuming input failed"), OperationalError), "database_unavailable"),
        (CommitOutcomeUnknownError(), "outcome_unknown"),
        (DatabaseError("something"), "internal"),
        (ValueError("something"), "internal"),
    ],
)
def test_an_error_without_a_sqlstate_is_classified_by_its_type(error, code):
    assert classify_error(error).code == code


@contextmanager
def lock_table(table: str) -> Iterator[None]:
    """Another session has the table for itself."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as other_session:
        other_session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        other_session.rollback()


@contextmanager
def session_setting(name: str, value: str) -> Iterator[None]:
    """A setting of this test's session with the database."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET {name} = {value}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"RESET {name}")


@pytest.mark.parametrize(
    "server_message",
    [
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'FATAL:  too many connections for role "memoryhub_app"',
    ],
)
def test_a_session_that_the_server_refuses_for_want_of_room_has_the_state_that_libpq_does_not_pass_on(server_message):
    error = _chained_error(psycopg.OperationalError(f"connection failed: {server_message}"), OperationalError)

    assert (classify_error(error).code, find_sqlstate(error)) == ("too_many_connections", "53300")


@contextmanager
def exhaust_connections() -> Iterator[None]:
    """No further session may begin in the database."""
    name = sql.Identifier(str(connection.settings_dict["NAME"]))
    with psycopg.connect(database_dsn(str(connection.settings_dict["NAME"])), autocommit=True) as operator:
        operator.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(name))
        connection.close()
        try:
            yield
        finally:
            connection.close()
            operator.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(name))


@contextmanager
def make_database_read_only() -> Iterator[None]:
    """The database accepts no writes from sessions that begin meanwhile."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    connection.close()
    try:
        yield
    finally:
        with psycopg.connect(database_dsn(connection.settings_dict["NAME"]), autocommit=True) as session:
            session.execute("SET default_transaction_read_only = off")
            session.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())


@contextmanager
def disconnect_database() -> Iterator[None]:
    """The server is gone: nobody listens where it was."""
    connection.close()
    other_settings = dict(connection.settings_dict)
    connection.settings_dict["HOST"] = "/nonexistent/socket"
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(other_settings)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("scopes", "method", "path", "missing"),
    [
        ("read", "POST", "/api/memories", "`write`"),
        ("write", "GET", "/api/memories", "`read`"),
        ("read", "GET", "/api/audit", "`audit`"),
        ("read", "POST", "/api/memories/secrets", "`curate`"),
        ("curate", "POST", "/api/memories/classify", "`read`"),
        ("read curate", "POST", "/api/policies", "`admin`"),
    ],
)
def test_a_scope_that_is_missing_is_named(scopes, method, path, missing):
    response = send(make_key(scopes=scopes, source="test"), method, path, "{}")

    assert missing in assert_problem(response, 403, "forbidden")["detail"]


@pytest.mark.django_db(transaction=True)
class TestOnARealServer:
    """Faults that a real PostgreSQL raised, seen through the views."""

    def test_a_statement_that_takes_too_long_says_so(self, key):
        make_memory()
        with session_setting("statement_timeout", "100"), lock_table("memories"):
            responses = [send(key, "GET", "/api/memories"), send(key, "POST", "/api/memories", json.dumps(envelope()))]

        for response in responses:
            assert_problem(response, 503, "query_timeout")
            assert int(response["Retry-After"]) > 0
        assert send(key, "GET", "/api/memories").status_code == 200

    def test_a_table_that_is_locked_is_busy(self, key):
        with session_setting("lock_timeout", "100"), lock_table("memories"):
            responses = [send(key, "GET", path) for path in ("/api/memories", "/api/facets?q=a", UNKNOWN)]
            responses.append(send(key, "POST", "/api/memories", json.dumps(envelope())))

        for response in responses:
            assert_problem(response, 503, "busy")
            assert int(response["Retry-After"]) > 0

    def test_a_writer_that_waits_too_long_for_another_gets_a_problem(self, key):
        make_memory()
        with session_setting("lock_timeout", "100"), lock_table("record_clock"):
            assert_problem(send(key, "POST", "/api/memories", json.dumps(envelope())), 503, "busy")
            assert send(key, "GET", "/api/memories").status_code == 200
        assert Memory.objects.count() == 1

    def test_a_database_that_takes_no_writes_is_read_only_and_its_status_degraded(self, key):
        make_memory()
        with make_database_read_only():
            response = send(key, "POST", "/api/memories", json.dumps(envelope()))
            assert_problem(response, 503, "read_only")
            assert int(response["Retry-After"]) > 0
            assert send(key, "GET", "/api/memories").status_code == 200
            travel_response = send(key, "GET", "/api/timetravel?as_of=2999-01-01&known_at=2999-01-01")
            assert (travel_response.status_code, len(travel_response.json()["records"])) == (200, 1)
            status = send(key, "GET", "/api/status")
            assert (status.status_code, status.json()["status"]) == (200, "degraded")
            assert status.json()["database"]["healthy"] is False
        assert Memory.objects.count() == 1
        # What empties the tables after this test is no request.
        connection.close()

    def test_a_connection_from_when_the_database_took_no_writes_is_not_used_when_it_does_again(self, key):
        with make_database_read_only():
            assert send(key, "GET", "/api/memories").status_code == 200
            old = connection.connection

        assert send(key, "POST", "/api/memories", json.dumps(envelope())).status_code == 201
        assert old is not None
        assert old.closed

    def test_a_database_that_is_gone_is_unavailable(self, key):
        with disconnect_database():
            responses = [
                send(key, "GET", path)
                for path in ("/api/memories", "/api/facets", "/api/histogram", "/api/status", UNKNOWN, "/ready")
            ]
            responses.append(send(key, "POST", "/api/memories", json.dumps(envelope())))
            signed_in = Client(raise_request_exception=False)
            signed_in.cookies["sessionid"] = "a" * 32
            responses.append(signed_in.get("/api/memories"))
            health = send(key, "GET", "/health")
            schema, missing = send("", "GET", "/health"), send(key, "GET", "/api/nothing")

        for response in responses:
            assert_problem(response, 503, "database_unavailable")
            assert int(response["Retry-After"]) > 0
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        assert (schema.status_code, missing.status_code) == (200, 404)
        assert send(key, "GET", "/ready").json()["status"] == "ready"

    def test_a_database_without_a_free_connection_says_so_to_callers_and_its_state_to_the_log(self, key):
        with exhaust_connections(), capture_logs() as log:
            responses = [send(key, "GET", path) for path in ("/api/memories", "/ready")]
            page = Client(raise_request_exception=False, headers={"cookie": f"sessionid={'a' * 32}"}).get("/")

        for response in responses:
            assert_problem(response, 503, "too_many_connections")
            assert int(response["Retry-After"]) > 0
        assert (page.status_code, int(page["Retry-After"]) > 0) == (503, True)
        assert b"no more connections" in page.content
        ids = [response["X-Request-ID"] for response in (*responses, page)]
        assert [(line["sqlstate"], line["request_id"]) for line in log] == [("53300", id_) for id_ in ids]

    def test_a_full_disk_says_so_to_callers_and_its_state_to_the_log(self, key):
        with connection.cursor() as cursor:
            cursor.execute(_FILLS_THE_DISK)
        try:
            with capture_logs() as log:
                assert_problem(send(key, "POST", "/api/memories", json.dumps(envelope())), 503, "disk_full")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP FUNCTION fill_disk() CASCADE")

        assert [(line["code"], line["sqlstate"]) for line in log] == [("disk_full", "53100")]
        assert Memory.objects.count() == 0

    def test_a_session_that_is_cut_fails_once(self, key):
        make_memory()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone() or (0,)
        with psycopg.connect(
            **connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
        ) as other_session:
            other_session.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        assert_problem(send(key, "GET", "/api/memories"), 503, "database_unavailable")
        close_old_connections()  # what Django does before each request, and its test client does not
        assert send(key, "GET", "/api/memories").status_code == 200

    def test_a_commit_that_is_cut_has_an_unknown_outcome_and_can_be_sent_again(self, key):
        body = json.dumps(envelope())
        with connection.cursor() as cursor:
            cursor.execute(_DIES_AT_COMMIT)
        try:
            assert_problem(send(key, "POST", "/api/memories", body), 503, "outcome_unknown")
        finally:
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute("DROP FUNCTION die() CASCADE")

        assert send(key, "POST", "/api/memories", body).status_code == 201
        assert Memory.objects.count() == 1

    def test_a_schema_that_is_behind_is_not_ready(self, key):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'memories' RETURNING app, name, applied")
            rows = cursor.fetchall()
        try:
            assert_problem(send(key, "GET", "/ready"), 503, "migrations_pending")
        finally:
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", rows)

        assert send(key, "GET", "/ready").status_code == 200

    def test_a_schema_that_a_newer_version_made_is_not_ready_and_not_migrated(self, key):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied)"
                " VALUES ('memories', '9999_future', now()), ('an_app_that_was_removed', '0001_initial', now())"
            )
        try:
            assert_problem(send(key, "GET", "/ready"), 503, "schema_ahead")
            with pytest.raises(
                CommandError,
                match=r"newer than this version of memoryhub, which lacks the migrations memories\.9999_future\.",
            ):
                call_command("migrate", verbosity=0)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM django_migrations WHERE name = '9999_future'")

        assert send(key, "GET", "/ready").status_code == 200
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'an_app_that_was_removed'")


# What PostgreSQL raises when it cannot make a table's file longer.
_FILLS_THE_DISK = """
CREATE FUNCTION fill_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER fills_the_disk BEFORE INSERT ON memories FOR EACH ROW EXECUTE FUNCTION fill_disk();
"""
# A constraint that is checked at COMMIT and ends the session while doing so.
_DIES_AT_COMMIT = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(5);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER dies AFTER INSERT OR UPDATE ON record_clock
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();
"""


@pytest.mark.django_db
def test_an_unexpected_error_is_internal_and_shows_its_request_id_alone(key, monkeypatch):
    def raise_error(*_: Any, **__: Any) -> None:
        raise RuntimeError(SECRET_DETAIL)

    monkeypatch.setattr(pagination, "parse_limit", raise_error)

    body = assert_problem(send(key, "GET", "/api/memories"), 500, "internal")

    assert "secret" not in json.dumps(body)
    assert body["detail"] == INTERNAL.detail


def test_health_asks_the_database_nothing():
    """No database mark: any query would fail this test."""
    response = Client().get("/health")

    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert pq.version() > 0


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X" * 500)
PATHS = (
    "/api/memories", UNKNOWN, UNKNOWN + "/versions", "/api/facets", "/api/histogram", "/api/status", "/api/schema",
    "/api/docs", "/ready", "/health",
)  # fmt: skip


def allowed_methods(path: str) -> set[str]:
    return {"GET", "HEAD", "POST"} if path == "/api/memories" else {"GET", "HEAD"}


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "path"), [(m, p) for p in PATHS for m in METHODS if m not in allowed_methods(p)])
def test_a_method_that_a_route_does_not_know_is_refused_and_the_known_ones_are_named(key, method, path):
    """BI-17."""
    response = send(key, method, path, "{}")

    if path == "/api/docs" and response.status_code == 403:
        # A page, which a browser's cookies guard: what changes something is asked for its token first.
        assert_problem(response, 403, "forbidden")
    else:
        assert_problem(response, 405, "method_not_allowed")
        assert allowed_methods(path) <= set(response["Allow"].split(", "))


@pytest.mark.django_db(transaction=True)
def test_an_import_that_the_database_ends_says_how_far_it_came(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(envelope()) + "\n" for _ in range(3)))

    with session_setting("lock_timeout", "100"), lock_table("memories"), pytest.raises(CommandError) as ended:
        call_command("import_memories", str(file))
    call_command("import_memories", str(file))

    assert "stopped in the batch that ends with line 3. The rows are locked" in str(ended.value)
    assert "run it again" in str(ended.value)
    assert Memory.objects.count() == 3
