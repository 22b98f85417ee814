"""Keys and sessions at the API: what opens a door, what does not, and what is said of it. Who may do what there is in
tests/test_authorization.py.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from memoryhub.firewall.models import ApiKey, ClearanceProfile
from memoryhub.memories.models import Memory
from memoryhub.middleware import AUTHENTICATED_AS, CHECK_CREDENTIAL_ONLY
from tests.api.responses import assert_any_problem, assert_problem, comparable_response
from tests.authorization_matrix import CALLERS, LISTED_CELLS, matrix_row
from tests.factories import envelope, make_key, make_memory, make_user
from tests.shared_world import shared_world

pytestmark = pytest.mark.django_db

MISSING_ID = "00000000-0000-4000-8000-000000000000"
# Each route of the API with what it answers to a key that is none any more.
ROUTES = [
    (method, "/" + re.sub(r"<uuid:\w+>", MISSING_ID, route.pattern).replace("^(?P<rest>.*)$", "no/such/route"),
     (matrix_row(method, route) or ())[CALLERS.index("expired")])
    for method, route in LISTED_CELLS
    if route.pattern.startswith(("api/", "ready", "health", "metrics"))
]  # fmt: skip
MALFORMED_HEADERS = [
    "Bearer", "Bearer ", "Bearer  ", "bearer", "Bearer\tmh_0123456789abcdef", "Bearer a b", "Bearer " + "x" * 10_000,
    "Bearer mh_\x00" + "0" * 20, "\x00", "Bearer \x00", "Bearer é" + "0" * 20, "Bearer \xff\xfe", "é",
    "Basic dXNlcjpwYXNz",
    "Basic", "Token 0123456789abcdef0123", "Digest username=a", "mh_0123456789abcdef0123456789", "Bearer ' OR 1=1 --",
    "Bearer mh_" + "\uff10".encode().decode("latin-1") * 10, "Bearer " + "%" * 40, "Bearer null",
    "Bearer undefined", ", Bearer x", "Bearer mh_" + "0" * 61,
]  # fmt: skip


def send_request(client: Client, method: str, path: str, **extra: Any) -> Any:
    return client.generic(method, path, **extra)


def auth_header(secret: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


def _expired_key() -> str:
    return make_key(scopes="read write admin", expiry=timedelta(seconds=-1))


def _revoked_key() -> str:
    secret = make_key(scopes="read write admin")
    ApiKey.objects.filter(token_key=secret[:15]).update(revoked_at=timezone.now())
    return secret


def _key_of_disabled_user() -> str:
    secret = make_key(scopes="read write admin", owner="left")
    User.objects.filter(username="left").update(is_active=False)
    return secret


def _key_of_deleted_user() -> str:
    secret = make_key(scopes="read write admin", owner="gone")
    User.objects.get(username="gone").delete()
    return secret


def _altered_key() -> str:
    """A good key with its last character changed."""
    secret = make_key(scopes="read write admin")
    return secret[:-1] + ("0" if secret[-1] != "0" else "1")


INVALID_KEYS: dict[str, Callable[[], str]] = {
    "expired": _expired_key,
    "revoked": _revoked_key,
    "of a disabled user": _key_of_disabled_user,
    "of a deleted user": _key_of_deleted_user,
    "almost right": _altered_key,
    "the public half": lambda: make_key(scopes="read")[:15],
    "never made": lambda: "mh_" + "a" * 61,
}


@pytest.fixture(scope="class")
def invalid_secrets(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    with shared_world(request):
        yield {reason: make_invalid_key() for reason, make_invalid_key in INVALID_KEYS.items()}


class TestInvalidKeys:
    @pytest.mark.parametrize(("method", "path", "expected"), ROUTES, ids=str)
    def test_open_nothing(self, invalid_secrets, method, path, expected):
        responses = {
            reason: send_request(Client(), method, path, **auth_header(secret))
            for reason, secret in invalid_secrets.items()
        }

        assert {reason: r.status_code for reason, r in responses.items() if r.status_code != expected} == {}
        if expected == 401:
            assert {response["WWW-Authenticate"] for response in responses.values()} == {"Bearer"}


@pytest.mark.parametrize(("method", "path", "expected"), ROUTES, ids=str)
def test_a_header_that_is_malformed_is_refused_like_any_other(method, path, expected):
    answers = {header: send_request(Client(), method, path, HTTP_AUTHORIZATION=header) for header in MALFORMED_HEADERS}

    assert {header: a.status_code for header, a in answers.items() if a.status_code != expected} == {}
    if expected == 401:
        first = comparable_response(answers["Bearer"])
        assert [header for header, response in answers.items() if comparable_response(response) != first] == []


def test_every_refused_key_gets_the_same_answer_except_to_who_holds_the_secret_of_an_old_one():
    unknown = [
        make_invalid_key for reason, make_invalid_key in INVALID_KEYS.items() if reason not in ("expired", "revoked")
    ]
    responses = [
        comparable_response(send_request(Client(), "GET", "/api/memories", **auth_header(make_invalid_key())))
        for make_invalid_key in unknown
    ]

    assert [response for response in responses if response != responses[0]] == []
    for code, make_invalid_key in (("key_expired", _expired_key), ("key_revoked", _revoked_key)):
        secret = make_invalid_key()
        wrong_secret = secret[:-1] + ("0" if secret[-1] != "0" else "1")
        assert_problem(send_request(Client(), "GET", "/api/memories", **auth_header(secret)), 401, code)
        assert (
            comparable_response(send_request(Client(), "GET", "/api/memories", **auth_header(wrong_secret)))
            == responses[0]
        )
    assert comparable_response(send_request(Client(), "GET", "/api/memories"))[2] == responses[0][2]


def test_a_bad_key_is_not_saved_by_a_session_beside_it():
    make_user("analyst")
    client = Client()
    client.force_login(User.objects.get(), "django.contrib.auth.backends.ModelBackend")

    assert send_request(client, "GET", "/api/memories").status_code == 200
    for header in MALFORMED_HEADERS:
        assert_problem(send_request(client, "GET", "/api/memories", HTTP_AUTHORIZATION=header), 401, "unauthorized")


def test_the_database_holds_no_key_that_can_be_used():
    secret = make_key(scopes="read write admin", clearance={"max_tier": "restricted"})

    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        dump = ""
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            dump += "\n".join(row for (row,) in cursor.fetchall())

    assert "api_keys" in tables
    assert secret[:15] in dump, "the part by which a key is found"
    assert secret not in dump
    assert secret[15:] not in dump
    assert secret[15:].encode().hex() not in dump


def test_a_key_without_clearance_sees_public_memories_only(api):
    for tier in ("public", "internal", "confidential", "restricted"):
        make_memory(payload_id=tier, tier=tier)

    records = api(make_key()).get("/api/memories").json()["records"]

    assert [record["payload_id"] for record in records] == ["public"]


def test_a_user_without_clearance_sees_public_memories_only():
    for tier in ("public", "internal", "confidential", "restricted"):
        make_memory(payload_id=tier, tier=tier)
    client = Client()
    client.force_login(User.objects.create_user("new"), "django.contrib.auth.backends.ModelBackend")

    records = client.get("/api/memories").json()["records"]

    assert [record["payload_id"] for record in records] == ["public"]


@pytest.mark.parametrize("max_tier", ["nonsense", "", "Public", "restricted "])
def test_a_clearance_that_names_no_tier_sees_nothing(api, max_tier):
    make_memory()

    assert api(make_key(clearance={"max_tier": max_tier})).get("/api/memories").json()["records"] == []


def test_a_clearance_that_is_lowered_holds_from_the_next_request_on(api):
    secret = api(make_key(clearance={"max_tier": "restricted"}))
    make_user("analyst", name="analysts", max_tier="restricted")
    session = Client()
    session.force_login(User.objects.get(username="analyst"), "django.contrib.auth.backends.ModelBackend")
    memory = make_memory(tier="restricted")
    path = f"/api/memories/{memory.memory_id}"
    etag = secret.get(path)["ETag"]
    assert session.get(path).status_code == 200

    ClearanceProfile.objects.update(max_tier="public")

    for response in (secret.get(path), session.get(path), secret.client.get(path, headers={"If-None-Match": etag})):
        assert_problem(response, 404, "not_found")


def test_a_key_that_is_revoked_or_expires_stops_at_once(api, time_machine):
    revoked_client, expiring_client = api(make_key()), api(make_key(expiry=timedelta(hours=1)))
    assert (revoked_client.get("/api/facets").status_code, expiring_client.get("/api/facets").status_code) == (200, 200)

    ApiKey.objects.filter(expiry__gt=timezone.now() + timedelta(days=1)).update(revoked_at=timezone.now())
    assert_problem(revoked_client.get("/api/facets"), 401, "key_revoked")
    assert expiring_client.get("/api/facets").status_code == 200
    time_machine.move_to(timezone.now() + timedelta(hours=1, seconds=1), tick=True)
    assert_problem(expiring_client.get("/api/facets"), 401, "key_expired")

    assert ApiKey.objects.count() == 2, "keys stay on record"


class TestSessions:
    @pytest.fixture
    def browser_client(self) -> Client:
        """A signed-in administrator whose browser checks what a browser checks."""
        make_user("root", scopes="admin", max_tier="restricted")
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.get(username="root"), "django.contrib.auth.backends.ModelBackend")
        return client

    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""],
    )
    def test_cannot_write_without_a_csrf_token(self, browser_client, content_type):
        response = browser_client.post(
            "/api/memories", b'{"payload_id": "x", "content": "y"}', content_type=content_type
        )

        assert assert_any_problem(response)["code"] in ("forbidden", "bad_request")
        assert not Memory.objects.exists()

    def test_write_with_a_csrf_token(self, browser_client):
        token = "a" * 32
        browser_client.cookies["csrftoken"] = token

        response = browser_client.post("/api/memories", envelope(), "application/json", headers={"X-CSRFToken": token})

        assert response.status_code == 201
        assert Memory.objects.get().actor_type == "user"

    def test_do_not_write_for_a_foreign_origin(self, browser_client):
        token = "a" * 32
        browser_client.cookies["csrftoken"] = token
        headers = {"X-CSRFToken": token, "Origin": "https://evil.example"}

        assert_problem(
            browser_client.post("/api/memories", envelope(), "application/json", headers=headers), 403, "forbidden"
        )

    def test_are_ignored_where_a_key_is_given(self, browser_client):
        """The cookies are an administrator's, the key may only read what is public: the key decides."""
        make_memory(tier="restricted")
        key = {"Authorization": f"Bearer {make_key(scopes='read')}"}

        assert browser_client.get("/api/memories", headers=key).json()["records"] == []
        assert_problem(
            browser_client.post("/api/memories", envelope(), "application/json", headers=key), 403, "forbidden"
        )

    def test_have_no_say_in_the_write_of_a_key(self, browser_client):
        browser_client.cookies["csrftoken"] = "nonsense"
        browser_client.cookies["sessionid"] = "\x00nonsense"
        key = {"Authorization": f"Bearer {make_key(scopes='write')}"}

        assert browser_client.post("/api/memories", envelope(), "application/json", headers=key).status_code == 201

    def test_end_when_the_user_is_disabled_or_signs_out(self, browser_client):
        assert browser_client.get("/api/memories").status_code == 200
        User.objects.update(is_active=False)
        assert_problem(browser_client.get("/api/memories"), 401, "unauthorized")
        User.objects.update(is_active=True)
        browser_client.logout()
        assert_problem(browser_client.get("/api/memories"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("credential", "is_good"),
    [("key", True), ("session", True), ("wrong key", False), ("no key", False), ("wrong session", False), ("", False)],
)
def test_a_credential_is_verified_without_asking_for_anything(credential, is_good, django_user_model):
    client = Client()
    request_headers: dict[str, Any] = {
        "key": {"HTTP_AUTHORIZATION": f"Bearer {make_key()}"},
        "wrong key": {"HTTP_AUTHORIZATION": "Bearer mh_0123456789abcdef0123456789"},
        "no key": {"HTTP_AUTHORIZATION": "Basic abc"},
    }.get(credential, {})
    if credential == "session":
        client.force_login(django_user_model.objects.create(username="ada"))
    elif credential == "wrong session":
        client.cookies["sessionid"] = "abc"

    verified_headers: dict[str, Any] = {**request_headers, CHECK_CREDENTIAL_ONLY: True}
    response = client.get("/api/memories", **verified_headers)

    assert response.status_code == 204
    assert (AUTHENTICATED_AS in response.wsgi_request.META) == is_good
    assert client.get("/api/memories", **request_headers).status_code == (200 if is_good else 401)
