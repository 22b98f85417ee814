"""Signing in and out: guessing, sessions, forms, and what other sites may do (AZ-07, AZ-08, AZ-10, AZ-11, FW-29)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings as django_settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from memoryhub.audit.models import AuditEntry
from memoryhub.core.client_address import TrustedProxies
from memoryhub.firewall.lockout import COOKIE_NAME, GLOBAL_LIMIT_FACTOR
from memoryhub.firewall.models import ClearanceProfile
from tests.api.responses import comparable_response
from tests.factories import make_memory, make_user
from tests.harness.strategies import SOAK

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
FAILURE_LIMIT = django_settings.AXES_FAILURE_LIMIT
SMALL_LIMIT = 3
GUESSED_HOURS = 24 if SOAK else 6
"""Long enough for failures to be forgotten several times, if they were."""


@pytest.fixture
def small_limit(settings):
    """For tests in which the first delay begins and it matters little after how many failures."""
    settings.AXES_FAILURE_LIMIT = SMALL_LIMIT


def sign_in(username: str, password: str = PASSWORD, *, client: Client | None = None, **extra: Any) -> Any:
    return (client or Client()).post("/sign-in", {"username": username, "password": password}, **extra)


def guess_passwords(username: str, count: int, **extra: Any) -> list[int]:
    return [sign_in(username, f"wrong {turn}", **extra).status_code for turn in range(count)]


def comparable_page(response: Any) -> Any:
    """What a visitor can compare of an answer."""
    status, headers, body = comparable_response(response)
    body = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", body)
    return status, [header for header in headers if header[0] not in ("Content-Length", "Expires")], body


def retry_delays(username: str, count: int, time_machine: Any, **extra: Any) -> list[int]:
    """The seconds told by as many wrong attempts, each as soon as the delay before it is over."""
    delays = []
    for turn in range(count):
        response = sign_in(username, f"late {turn}", **extra)
        assert response.status_code == 429
        delays.append(int(response["Retry-After"]))
        time_machine.shift(delays[-1])
    return delays


class TestGuessing:
    def test_delays_the_account_for_where_it_comes_from(self):
        make_user("ada")

        assert guess_passwords("ada", FAILURE_LIMIT) == [*[200] * (FAILURE_LIMIT - 1), 429]
        assert sign_in("ada").status_code == 429, "the right password opens nothing while the delay lasts"

    def test_is_delayed_longer_with_each_failure_up_to_a_quarter_of_an_hour(self, time_machine):
        make_user("ada")
        time_machine.move_to(timezone.now(), tick=False)
        guess_passwords("ada", FAILURE_LIMIT - 1)

        assert retry_delays("ada", 8, time_machine) == [30, 60, 120, 240, 480, 900, 900, 900]
        assert sign_in("ada").status_code == 302, "each delay ends"

    def test_says_how_long_to_wait_and_where_the_delay_does_not_count(self, time_machine):
        make_user("ada")
        time_machine.move_to(timezone.now(), tick=False)
        guess_passwords("ada", FAILURE_LIMIT)
        time_machine.shift(10)

        response = sign_in("ada")

        assert (response.status_code, response["Retry-After"]) == (429, "20")
        assert b"Wait 20 seconds, or ask your administrator." in response.content

    def test_gains_nothing_by_waiting_until_failures_are_forgotten(self, time_machine):
        """An attacker who guesses all day has about four tries an hour more than the first ones."""
        make_user("ada")
        start = timezone.now()
        time_machine.move_to(start, tick=False)
        guess_passwords("ada", FAILURE_LIMIT - 1)
        attempt_count = FAILURE_LIMIT - 1
        while timezone.now() < start + timedelta(hours=GUESSED_HOURS):
            retry_delays("ada", 1, time_machine)
            attempt_count += 1

        assert attempt_count <= FAILURE_LIMIT + 5 + GUESSED_HOURS * 4

    @pytest.mark.usefixtures("small_limit")
    def test_from_elsewhere_delays_nobody_in_a_browser_they_signed_in_with(self):
        make_user("ada")
        home = Client()
        sign_in("ada", client=home)
        for turn in range(GLOBAL_LIMIT_FACTOR + 1):
            guess_passwords("ada", SMALL_LIMIT, REMOTE_ADDR=f"10.0.1.{turn}")
        guess_passwords("ada", SMALL_LIMIT)
        home.post("/sign-out")

        assert sign_in("ada").status_code == 429
        assert sign_in("ada", "wrong", client=home).status_code == 200
        assert sign_in("ada", client=home).status_code == 302
        assert sign_in("ada").status_code == 429, "what the owner does makes no room for those who guess"

    def test_is_delayed_in_a_known_browser_too(self):
        make_user("ada")
        home = Client()
        sign_in("ada", client=home)
        home.post("/sign-out")

        assert guess_passwords("ada", FAILURE_LIMIT, client=home)[-2:] == [200, 429]
        assert sign_in("ada", client=home).status_code == 429
        assert sign_in("ada").status_code == 302, "elsewhere nothing has failed"

    def test_of_others_is_not_helped_by_the_cookie_of_ones_own_account(self):
        make_user("ada")
        make_user("bob")
        attacker = Client()
        for _ in range(3):
            sign_in("bob", client=attacker)
            attacker.post("/sign-out")

        assert guess_passwords("ada", FAILURE_LIMIT, client=attacker)[-2:] == [200, 429]
        assert sign_in("ada").status_code == 429, "they count as those of an unknown browser"

    @pytest.mark.usefixtures("small_limit")
    @pytest.mark.parametrize("forged_cookie", ["", "x", "WyJhZGEiLCAieCJd:1:y", '"\\000"', "a" * 5_000], ids=range(5))
    def test_is_not_helped_by_a_forged_cookie(self, forged_cookie):
        make_user("ada")
        client = Client()
        client.cookies[COOKIE_NAME] = forged_cookie

        assert guess_passwords("ada", SMALL_LIMIT, client=client)[-1] == 429
        assert sign_in("ada").status_code == 429

    def test_counts_whom_a_trusted_proxy_names(self, settings):
        make_user("ada")
        settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"trusted_proxies": TrustedProxies(count=1)})
        forged_headers = {"X-Forwarded-For": "10.9.9.9, 192.0.2.1"}
        guess_passwords("ada", FAILURE_LIMIT, headers=forged_headers)

        assert sign_in("ada", headers=forged_headers).status_code == 429
        assert sign_in("ada", headers={"X-Forwarded-For": "10.8.8.8, 192.0.2.1"}).status_code == 429
        assert sign_in("ada", headers={"X-Forwarded-For": "192.0.2.1, 192.0.2.2"}).status_code == 302

    @pytest.mark.usefixtures("small_limit")
    def test_from_one_address_locks_nobody_out_elsewhere(self):
        make_user("ada")
        guess_passwords("ada", SMALL_LIMIT * (GLOBAL_LIMIT_FACTOR + 2))

        assert sign_in("ada", REMOTE_ADDR="10.0.0.9").status_code == 302

    @pytest.mark.usefixtures("small_limit")
    def test_from_many_addresses_locks_the_account(self):
        make_user("ada")
        for turn in range(GLOBAL_LIMIT_FACTOR):
            guess_passwords("ada", SMALL_LIMIT, REMOTE_ADDR=f"10.0.1.{turn}")

        assert sign_in("ada", REMOTE_ADDR="10.0.0.9").status_code == 429

    @pytest.mark.usefixtures("small_limit")
    @pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "User-Agent"])
    def test_is_not_helped_by_another_value_of_a_header(self, header):
        make_user("ada")

        statuses = [
            sign_in("ada", "wrong", headers={header: f"10.0.2.{turn}"}).status_code for turn in range(SMALL_LIMIT + 1)
        ]

        assert statuses[-2:] == [429, 429]

    def test_is_not_helped_by_another_spelling_of_the_name(self):
        make_user("ada")
        guess_passwords("ada", FAILURE_LIMIT - 1)

        assert sign_in("\uff41\uff44\uff41", "wrong").status_code == 429

    def test_ends_a_while_after_the_last_failure_that_counted(self, time_machine):
        make_user("ada")
        time_machine.move_to(timezone.now())
        guess_passwords("ada", FAILURE_LIMIT)
        time_machine.shift(timedelta(minutes=10))
        guess_passwords("ada", 3)
        time_machine.shift(timedelta(minutes=6))

        assert sign_in("ada").status_code == 302

    @pytest.mark.usefixtures("small_limit")
    def test_does_not_reveal_whether_the_account_exists(self, time_machine):
        time_machine.move_to(timezone.now(), tick=False)
        make_user("ada")
        make_user("zoe")
        User.objects.filter(username="zoe").update(is_active=False)

        for turn in range(SMALL_LIMIT + 2):
            responses = [comparable_page(sign_in(name, f"wrong {turn}")) for name in ("ada", "bob", "zoe")]
            bodies = [
                body.replace(name, b"") for (_, _, body), name in zip(responses, (b"ada", b"bob", b"zoe"), strict=True)
            ]
            assert [response[:2] for response in responses] == [responses[0][:2]] * 3
            assert bodies == [bodies[0]] * 3

    def test_hashes_as_often_for_an_account_that_does_not_exist(self, monkeypatch):
        """What takes the time of a sign-in is the hash: without one, a missing account would be told by the clock."""
        make_user("ada")
        hashed: list[str] = []
        original_encode = MD5PasswordHasher.encode

        def counting_encode(self: MD5PasswordHasher, password: str, salt: str) -> str:
            hashed.append(password)
            return original_encode(self, password, salt)

        monkeypatch.setattr(MD5PasswordHasher, "encode", counting_encode)

        for name in ("ada", "bob"):
            sign_in(name, f"a guess at {name}")

        assert hashed == ["a guess at ada", "a guess at bob"]

    def test_is_in_the_audit_log_under_an_account_and_never_under_what_was_typed(self):
        make_user("ada")
        sign_in("ada", "hunter2-canary")
        sign_in("hunter2-canary\r\nINFO forged", "x")

        entries = AuditEntry.objects.filter(action="session.login_failed").order_by("seq")

        assert [(entry.principal, entry.details) for entry in entries] == [
            ("anonymous", {"account": "user:ada"}),
            ("anonymous", {"account": None}),
        ]
        assert "canary" not in str(list(AuditEntry.objects.values_list()))

    def test_writes_no_entry_while_the_lock_holds(self):
        make_user("ada")
        guess_passwords("ada", FAILURE_LIMIT + 5)

        assert AuditEntry.objects.filter(action="session.login_failed").count() == FAILURE_LIMIT

    def test_keeps_no_password(self):
        make_user("ada")
        sign_in("ada", "hunter2-canary")

        assert "hunter2-canary" not in str(list(AccessAttempt.objects.values_list()))


class TestSessions:
    def test_begin_under_an_id_that_nobody_could_have_known(self):
        make_user("ada")
        client = Client()
        client.session.save()
        client.cookies["sessionid"] = fixed = "a" * 32
        Session.objects.create(session_key=fixed, session_data="", expire_date=timezone.now() + timedelta(days=1))

        sign_in("ada", client=client)

        assert client.cookies["sessionid"].value != fixed
        attacker = Client()
        attacker.cookies["sessionid"] = fixed
        assert attacker.get("/").status_code == 302

    def test_end_for_good_when_their_owner_signs_out(self):
        make_user("ada")
        client = Client()
        sign_in("ada", client=client)
        session_id = client.cookies["sessionid"].value
        assert client.get("/").status_code == 200

        client.post("/sign-out")

        client.cookies["sessionid"] = session_id
        assert client.get("/").status_code == 302
        assert client.get("/api/memories").status_code == 401
        assert not Session.objects.filter(session_key=session_id).exists()

    @pytest.mark.parametrize("change_route", ["their own form", "an administrator"])
    def test_end_elsewhere_when_the_password_changes(self, change_route):
        ada = make_user("ada")
        User.objects.update(is_staff=True, is_superuser=True)
        this_client, other_client = Client(), Client()
        for client in (this_client, other_client):
            sign_in("ada", client=client)
        new = {"password1": "staple horse", "password2": "staple horse", "usable_password": "true"}
        own_form = {"old_password": PASSWORD, "new_password1": "staple horse", "new_password2": "staple horse"}
        path, form_data = (
            ("/admin/password_change/", own_form)
            if change_route == "their own form"
            else (f"/admin/auth/user/{ada.pk}/password/", new)
        )

        assert this_client.post(path, form_data).status_code == 302

        assert (this_client.get("/").status_code, other_client.get("/").status_code) == (200, 302)
        assert other_client.get("/api/memories").status_code == 401

    def test_see_less_from_the_moment_on_when_their_clearance_is_lowered(self):
        make_user("ada", name="falls", max_tier="restricted")
        client = Client()
        sign_in("ada", client=client)
        memories = [make_memory(tier="restricted", content=f"Hidden canary {index}.") for index in range(3)]
        page = f"/memories/{memories[0].memory_id}"
        cursor = client.get("/api/memories", {"limit": 1}).json()["next_cursor"]
        tag = client.get("/api/memories")["ETag"]
        assert client.get(page).status_code == 200

        ClearanceProfile.objects.filter(name="falls").update(max_tier="public")

        assert client.get(page).status_code == 404
        assert b"canary" not in client.get("/").content
        assert client.get("/api/memories", {"limit": 1, "cursor": cursor}).status_code == 400
        stale_response = client.get("/api/memories", headers={"If-None-Match": tag})
        assert (stale_response.status_code, stale_response.json()["records"]) == (200, [])

    def test_keep_their_cookies_from_scripts_and_from_other_sites(self):
        make_user("ada")
        client = Client()
        client.get("/sign-in")
        sign_in("ada", client=client)

        for name in ("sessionid", "csrftoken", COOKIE_NAME):
            cookie = client.cookies[name]
            assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["domain"]) == (True, "Lax", "", "")

    def test_are_in_the_audit_log(self):
        make_user("ada")
        client = Client()
        sign_in("ada", client=client)
        client.post("/sign-out")

        entries = AuditEntry.objects.filter(action__startswith="session.").order_by("seq")
        assert [(entry.principal, entry.action) for entry in entries] == [
            ("user:ada", "session.sign_in"),
            ("user:ada", "session.sign_out"),
        ]


@pytest.mark.parametrize(
    "hostile_url",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
     "http:///evil.example", "https:evil.example", " //evil.example", "/\t/evil.example", "\x00//evil.example"],
)  # fmt: skip
def test_after_signing_in_one_stays_here(hostile_url):
    make_user("ada")
    for client in (Client(), Client()):
        response = client.post("/sign-in", {"username": "ada", "password": PASSWORD, "next": hostile_url})
        assert response["Location"] == "/"
        # Who is signed in already is sent on at once.
        assert client.get("/sign-in", {"next": hostile_url})["Location"] == "/"


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "evil.example:80@testserver", "a b", ""])
@pytest.mark.parametrize("path", ["/", "/sign-in", "/admin/", "/api/memories", "/api/docs", "/ready"])
def test_a_foreign_host_is_refused(path, host):
    response = Client(headers={"Host": host}, SERVER_NAME="evil.example").get(path)

    assert response.status_code == 400
    assert b"evil" not in response.content
    assert response["Content-Type"].startswith(
        "application/problem+json" if path.startswith(("/api/m", "/api/d", "/ready")) else "text/html"
    )


CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("mode", "dest"),
    [("no-cors", "image"), ("no-cors", "script"), ("no-cors", "style"), ("navigate", "iframe"), ("navigate", "object"),
     ("cors", "empty"), ("", "")],
)  # fmt: skip
def test_another_site_can_load_nothing_from_here(mode, dest):
    make_user("ada")
    client = Client()
    sign_in("ada", client=client)

    for path in ("/", "/?q=secret", "/sign-in", "/admin/", "/api/memories", "/static/css/memoryhub.css", "/health"):
        response = client.get(path, headers={**CROSS_SITE, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest})

        assert response.status_code == 403, path
        assert len(response.content) < 300, path


def test_another_site_can_lead_people_here_and_send_nothing():
    make_user("ada")
    client = Client()
    sign_in("ada", client=client)
    navigation_headers = {**CROSS_SITE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert client.get("/", headers=navigation_headers).status_code == 200
    assert client.post("/sign-out", headers=navigation_headers).status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none", None])
def test_a_same_origin_request_and_a_client_that_is_no_browser_are_answered(site):
    assert Client().get("/sign-in", headers={"Sec-Fetch-Site": site} if site else {}).status_code == 200
