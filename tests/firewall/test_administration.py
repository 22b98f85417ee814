"""Keys, people and clearances in the admin: what is done, what is shown, and what is in the audit log."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.utils import timezone

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import keys
from memoryhub.firewall.models import ApiKey, ClearanceProfile, UserAccess
from memoryhub.firewall.principal import Principal
from tests.factories import WRITER, make_clearance, make_key, make_memory, make_user

pytestmark = pytest.mark.django_db

KEYS_URL = "/admin/firewall/apikey/"
CLEARANCES_URL = "/admin/firewall/clearanceprofile/"
SECRET_PATTERN = re.compile(r"mh_[0-9a-f]{61,}")


@pytest.fixture
def root() -> Client:
    user = make_user("root", name="top", max_tier="restricted", scopes="admin")
    user.is_staff = user.is_superuser = True
    user.save()
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def key_form(**fields: Any) -> dict[str, Any]:
    owner = User.objects.get(username="root").pk
    return {"name": "made", "user": owner, "source": "crm", "actor_type": "agent", "scopes": ["write"], **fields}


def audit_details(action: str) -> list[tuple[str, dict[str, Any]]]:
    entries = AuditEntry.objects.filter(action=action).order_by("seq")
    return [(entry.principal, entry.details) for entry in entries]


def get_only_key(**fields: Any) -> ApiKey:
    key: ApiKey = ApiKey.objects.get(**fields)
    return key


def run_admin_action(client: Client, action: str, *api_keys: ApiKey) -> Any:
    return client.post(KEYS_URL, {"action": action, "_selected_action": [key.pk for key in api_keys]})


class TestCreatedKey:
    def test_is_shown_in_that_answer_and_nowhere_else(self, root, api):
        response = root.post(f"{KEYS_URL}add/", key_form(scopes=["read"]))
        (secret,) = set(SECRET_PATTERN.findall(response.content.decode()))

        assert api(secret).get("/api/memories").status_code == 200
        assert "no-store" in response["Cache-Control"]
        # Neither a cookie nor a session carries it to the next page.
        assert not list(get_messages(response.wsgi_request))
        assert secret not in str(response.headers) + str(response.cookies)
        for path in (KEYS_URL, f"{KEYS_URL}{get_only_key().pk}/change/", f"{KEYS_URL}{get_only_key().pk}/history/"):
            assert secret not in root.get(path).content.decode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT string_agg(s::text, '') FROM django_session s")
            assert secret not in cursor.fetchone()[0]

    def test_is_in_the_audit_log_without_its_secret(self, root):
        response = root.post(f"{KEYS_URL}add/", key_form(actor_id="a-1"))
        secret = SECRET_PATTERN.findall(response.content.decode())[0]

        ((principal, details),) = audit_details("key.create")
        assert principal == "user:root"
        assert details["key"] == "made"
        assert {name: details["changed_fields"][name] for name in ("source", "scopes", "actor_id")} == {
            "source": [None, "crm"],
            "scopes": [None, ["write"]],
            "actor_id": [None, "a-1"],
        }
        assert not {secret, secret[:15], get_only_key().digest} & set(re.findall(r"\w+", str(details)))

    def test_expires_in_a_year_unless_somebody_says_otherwise(self, root):
        page = root.get(f"{KEYS_URL}add/").content.decode()
        expiry_match = re.search(r'name="expiry_0" value="(\d{4}-\d\d-\d\d)"', page)

        assert expiry_match is not None
        assert expiry_match[1] == (timezone.now() + timedelta(days=365)).date().isoformat()

    def test_names_its_source_if_it_writes(self, root):
        assert b"needs the source" in root.post(f"{KEYS_URL}add/", key_form(source="")).content
        assert not ApiKey.objects.exists()


class TestRotatedKey:
    def test_hands_its_rights_to_a_successor_and_ends_a_day_later(self, root, api, time_machine):
        secret = make_key(
            scopes="read write", source="crm", actor_type="system", actor_id="cron", delegated_actor_types=["agent"],
            clearance={"name": "c", "max_tier": "internal"},
        )  # fmt: skip
        old = get_only_key()
        make_memory(tier="internal", payload_id="seen")

        response = run_admin_action(root, "rotate", old)

        (fresh_secret,) = set(SECRET_PATTERN.findall(response.content.decode()))
        new = (
            get_only_key(name=f"{old.name}-2")
            if not old.name.rpartition("-")[2].isdecimal()
            else ApiKey.objects.latest("created")
        )
        for name in ("user", "source", "actor_type", "actor_id", "delegated_actor_types", "scopes", "clearance"):
            assert getattr(new, name) == getattr(old, name), name
        assert new.expiry - new.created == pytest.approx(old.expiry - old.created, abs=timedelta(seconds=1))
        assert fresh_secret != secret
        assert "no-store" in response["Cache-Control"]
        for secret_text in (secret, fresh_secret):
            assert len(api(secret_text).get("/api/memories").json()["records"]) == 1
        time_machine.move_to(timezone.now() + keys.ROTATION_GRACE + timedelta(seconds=5), tick=True)
        assert (api(secret).get("/api/memories").status_code, api(fresh_secret).get("/api/memories").status_code) == (
            401,
            200,
        )

    def test_is_in_the_audit_log_once(self, root):
        make_key()
        old = get_only_key()

        run_admin_action(root, "rotate", old)

        ((principal, details),) = audit_details("key.rotate")
        assert (principal, details["key"]) == ("user:root", old.name)
        assert ApiKey.objects.filter(name=details["successor"]).exists()
        assert (audit_details("key.create"), audit_details("key.change"), audit_details("key.revoke")) == ([], [], [])

    def test_does_not_live_longer_for_it(self):
        make_key(expiry=timedelta(hours=1))
        before = get_only_key()

        keys.rotate_key(before, principal=WRITER)

        assert get_only_key(pk=before.pk).expiry == before.expiry

    @pytest.mark.parametrize("fields", [{"revoked_at": "2026-01-01T00:00Z"}, {"expiry": "2026-01-01T00:00Z"}])
    def test_must_be_in_force(self, root, fields):
        make_key()
        ApiKey.objects.update(**fields)

        assert run_admin_action(root, "rotate", get_only_key()).status_code == 302
        with pytest.raises(keys.KeyInactiveError):
            keys.rotate_key(get_only_key(), principal=WRITER)

        assert ApiKey.objects.count() == 1
        assert audit_details("key.rotate") == []

    @pytest.mark.parametrize(
        ("name", "successor_names"),
        [("reader", ["reader-2", "reader-3"]), ("write-crm", ["write-crm-2", "write-crm-3"]), ("k-9", ["k-10", "k-11"]),
         ("2", ["2-2", "2-3"]), ("x" * 100, ["x" * 90 + "-2", "x" * 90 + "-3"])],
    )  # fmt: skip
    def test_gets_a_successor_whose_name_refers_to_it(self, name, successor_names):
        make_key()
        ApiKey.objects.update(name=name)
        key, rotated_keys = get_only_key(), []

        for _ in successor_names:
            key, _secret = keys.rotate_key(key, principal=WRITER)
            rotated_keys.append(key.name)

        assert rotated_keys == successor_names


class TestRevokedKey:
    def test_is_refused_from_then_on_and_audited_once(self, root, api):
        secret = make_key()

        for _ in range(2):
            run_admin_action(root, "revoke", get_only_key())

        assert api(secret).get("/api/memories").status_code == 401
        assert audit_details("key.revoke") == [("user:root", {"key": get_only_key().name})]

    def test_stays_on_record(self, root):
        make_key()
        key = get_only_key()

        assert root.post(f"{KEYS_URL}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        assert run_admin_action(root, "delete_selected", key).status_code in (200, 302)
        assert ApiKey.objects.exists()


class TestChangedKey:
    def test_is_audited_with_old_and_new_values(self, root):
        make_key(scopes="write", source="crm")
        key = get_only_key()

        form_data = key_form(scopes=["write", "read"], source="mail", expiry_0="2027-01-01", expiry_1="00:00")
        assert root.post(f"{KEYS_URL}{key.pk}/change/", form_data).status_code == 302

        ((_, details),) = audit_details("key.change")
        assert details["key"] == key.name
        assert details["changed_fields"]["source"] == ["crm", "mail"]
        assert details["changed_fields"]["scopes"] == [["write"], ["read", "write"]]
        assert details["changed_fields"]["expiry"][1] == "2027-01-01T00:00:00+00:00"

    def test_keeps_its_name_in_the_audit_log_and_cannot_be_unrevoked(self, root):
        make_key()
        ApiKey.objects.update(revoked_at=timezone.now())
        key = get_only_key()

        root.post(
            f"{KEYS_URL}{key.pk}/change/", key_form(name="other", scopes=["read"], revoked_at_0="", revoked_at_1="")
        )

        assert get_only_key().name == key.name
        assert get_only_key().revoked_at == key.revoked_at


class TestUsers:
    def change_user(self, client: Client, user: User, **fields: Any) -> Any:
        user_access = UserAccess.objects.get(user=user)
        inline = {
            "TOTAL_FORMS": "1", "INITIAL_FORMS": "1", "MIN_NUM_FORMS": "0", "MAX_NUM_FORMS": "1", "0-user": user.pk,
            "0-id": user_access.pk, "0-clearance": user_access.clearance.pk, "0-scopes": user_access.scopes,
        }  # fmt: skip
        form_data = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00", "is_active": "on", **fields}
        return client.post(
            f"/admin/auth/user/{user.pk}/change/",
            {**{f"access-{name}": value for name, value in inline.items()}, **form_data},
        )

    def test_are_audited_with_old_and_new_values(self, root):
        ada = make_user("ada", name="low", max_tier="public")
        high = make_clearance(name="high", max_tier="restricted")

        response = self.change_user(root, ada, **{"access-0-clearance": high.pk, "access-0-scopes": ["read", "audit"]})

        assert response.status_code == 302
        assert audit_details("user.change") == [
            (
                "user:root",
                {
                    "user": "ada",
                    "changed_fields": {"clearance": ["low", "high"], "scopes": [["read"], ["audit", "read"]]},
                },
            )
        ]

    def test_cannot_take_over_the_name_and_so_the_past_of_others(self, root):
        ada = make_user("ada")

        self.change_user(root, ada, username="root2", email="ada@example.org")

        assert User.objects.get(pk=ada.pk).username == "ada"
        assert root.post(f"/admin/auth/user/{ada.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_change_passwords_without_auditing_their_values(self, root):
        ada = make_user("ada")
        new = {"password1": "staple horse canary", "password2": "staple horse canary", "usable_password": "true"}

        root.post(f"/admin/auth/user/{ada.pk}/password/", new)

        assert audit_details("user.change") == [
            ("user:root", {"user": "ada", "changed_fields": {"password": [None, "changed"]}})
        ]

    def test_whose_password_was_refused_are_not_audited(self, root):
        ada = make_user("ada")

        root.post(
            f"/admin/auth/user/{ada.pk}/password/", {"password1": "a", "password2": "b", "usable_password": "true"}
        )
        root.post("/admin/password_change/", {"old_password": "no", "new_password1": "a", "new_password2": "b"})

        assert audit_details("user.change") == []


class TestClearances:
    def test_are_audited_when_they_are_created_changed_and_deleted(self, root):
        root.post(f"{CLEARANCES_URL}add/", {"name": "made", "max_tier": "internal", "all_namespaces": "on"})
        clearance_profile = ClearanceProfile.objects.get(name="made")
        root.post(
            f"{CLEARANCES_URL}{clearance_profile.pk}/change/",
            {"name": "made", "max_tier": "public", "blocked_labels": "pii,hr"},
        )
        root.post(f"{CLEARANCES_URL}{clearance_profile.pk}/delete/", {"post": "yes"})

        changed_fields = [details["changed_fields"] for _, details in audit_details("clearance.change")]
        assert changed_fields[0]["max_tier"] == [None, "internal"]
        assert changed_fields[1] == {
            "max_tier": ["internal", "public"],
            "blocked_labels": [[], ["hr", "pii"]],
            "all_namespaces": [True, False],
        }
        assert changed_fields[2]["max_tier"] == ["public", None]
        assert not ClearanceProfile.objects.filter(name="made").exists()

    def test_that_cannot_be_saved_are_not_audited(self, root):
        root.post(f"{CLEARANCES_URL}add/", {"name": "", "max_tier": "internal"})
        root.post(f"{CLEARANCES_URL}add/", {"name": "x", "max_tier": "nonsense"})

        assert audit_details("clearance.change") == []

    @pytest.mark.parametrize("field", ["blocked_labels", "required_labels"])
    @pytest.mark.parametrize("label", ["\u200b", "\u00ad\u3164", "\u2800"])
    def test_name_labels_that_can_be_seen(self, root, field, label):
        form_data = {"name": "x", "max_tier": "internal", field: f"pii,{label}"}

        response = root.post(f"{CLEARANCES_URL}add/", form_data)

        assert b"A label must contain a visible character." in response.content
        assert not ClearanceProfile.objects.filter(name="x").exists()
        assert root.post(f"{CLEARANCES_URL}add/", form_data | {field: f"pii,p{label}"}).status_code == 302


class TestClearancePreview:
    def preview_counts(self, client: Client, **fields: Any) -> tuple[int, int] | None:
        form_data = {"name": "draft", "max_tier": "restricted", "all_namespaces": "on", **fields}
        response = client.post(
            f"{CLEARANCES_URL}preview/", {n: v for n, v in form_data.items() if v}, headers={"HX-Request": "true"}
        )
        assert response.status_code == 200
        counts_match = re.search(
            r"sees <strong>([\d,]+)</strong> of the <strong>([\d,]+)</strong>", response.content.decode()
        )
        return (int(counts_match[1]), int(counts_match[2])) if counts_match else None

    @pytest.fixture(autouse=True)
    def _make_memories(self) -> None:
        for tier in ("public", "internal", "confidential", "restricted"):
            make_memory(tier=tier)
        make_memory(labels=["PII"])
        make_memory(namespace="team", labels=["eu"])
        make_memory(expires_at="2999-01-01T00:00:00Z", tier="internal")
        make_memory(expires_at="2001-01-01T00:00:00Z")

    @pytest.mark.parametrize(
        ("fields", "visible_count"),
        [
            ({}, 7),
            ({"max_tier": "internal"}, 5),
            ({"max_tier": "public"}, 3),
            ({"blocked_labels": "pii"}, 6),
            ({"required_labels": "EU"}, 1),
            ({"all_namespaces": "", "namespaces": "team"}, 1),
            ({"all_namespaces": ""}, 0),
            ({"max_tier": "internal", "blocked_labels": "pii,eu"}, 3),
            ({"name": "top"}, 7),
            ({"name": ""}, 7),
        ],
    )
    def test_counts_what_it_would_see(self, root, fields, visible_count):
        assert self.preview_counts(root, **fields) == (visible_count, 7)

    @pytest.mark.parametrize(
        ("own_clearance", "fields", "expected"),
        [
            ({"max_tier": "internal"}, {}, (5, 5)),
            ({"max_tier": "internal", "blocked_labels": ["pii"]}, {}, (4, 4)),
            ({"max_tier": "internal", "blocked_labels": ["pii"]}, {"max_tier": "public"}, (2, 4)),
            ({"all_namespaces": False, "namespaces": ["team"]}, {}, (1, 1)),
            ({"required_labels": ["eu"]}, {"max_tier": "public"}, (1, 1)),
        ],
    )
    def test_counts_nothing_that_its_editor_may_not_see(self, root, own_clearance, fields, expected):
        ClearanceProfile.objects.filter(name="top").update(**own_clearance)

        assert self.preview_counts(root, **fields) == expected

    def test_says_nothing_of_a_clearance_that_is_not_complete(self, root):
        assert self.preview_counts(root, max_tier="nonsense") is None

    def test_saves_nothing(self, root):
        self.preview_counts(root)

        assert not ClearanceProfile.objects.filter(name="draft").exists()
        assert audit_details("clearance.change") == []

    def test_is_a_page_without_a_script(self, root):
        page = root.post(
            f"{CLEARANCES_URL}preview/", {"name": "x", "max_tier": "public", "all_namespaces": "on"}
        ).content
        form = root.get(f"{CLEARANCES_URL}add/").content.decode()

        assert b"</html>" in page
        assert b"sees <strong>3</strong> of the <strong>7</strong>" in page
        assert f'formaction="{CLEARANCES_URL}preview/"' in form
        assert f'hx-post="{CLEARANCES_URL}preview/"' in form
        assert not re.search(r"<script(?![^>]* src=)[^>]*>", form), (
            "the policy lets no script run that stands in a page"
        )


def test_the_principal_of_an_action_is_the_user_who_did_it():
    make_key()
    keys.revoke_key(get_only_key(), principal=Principal(name="key:operator"), request_id="r-1")

    entry = AuditEntry.objects.get(action="key.revoke")
    assert (entry.principal, entry.request_id, entry.clearance_tiers) == ("key:operator", "r-1", ["public"])
