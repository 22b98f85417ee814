"""Keys, people and clearances in the admin: what is done, what is shown, and what the ledger is told."""

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
from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.types import Principal
from tests.builders import WRITER, make_clearance, make_key, make_memory, make_user

pytestmark = pytest.mark.django_db

KEYS = "/admin/firewall/apikey/"
CLEARANCES = "/admin/firewall/clearancerecord/"
SECRET = re.compile(r"mh_[0-9a-f]{61,}")


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


def told(action: str) -> list[tuple[str, dict[str, Any]]]:
    entries = AuditEntry.objects.filter(action=action).order_by("seq")
    return [(entry.principal, entry.details) for entry in entries]


def only_key(**fields: Any) -> ApiKey:
    key: ApiKey = ApiKey.objects.get(**fields)
    return key


def act(client: Client, action: str, *chosen: ApiKey) -> Any:
    return client.post(KEYS, {"action": action, "_selected_action": [key.pk for key in chosen]})


class TestAKeyThatIsMade:
    def test_is_shown_in_that_answer_and_nowhere_else(self, root, api):
        answer = root.post(f"{KEYS}add/", key_form(scopes=["read"]))
        (secret,) = set(SECRET.findall(answer.content.decode()))

        assert api(secret).get("/api/memories").status_code == 200
        assert "no-store" in answer["Cache-Control"]
        # Neither a cookie nor a session carries it to the next page.
        assert not list(get_messages(answer.wsgi_request))
        assert secret not in str(answer.headers) + str(answer.cookies)
        for path in (KEYS, f"{KEYS}{only_key().pk}/change/", f"{KEYS}{only_key().pk}/history/"):
            assert secret not in root.get(path).content.decode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT string_agg(s::text, '') FROM django_session s")
            assert secret not in cursor.fetchone()[0]

    def test_is_told_of_in_the_ledger_without_what_opens_anything(self, root):
        answer = root.post(f"{KEYS}add/", key_form(actor_id="a-1"))
        secret = SECRET.findall(answer.content.decode())[0]

        ((principal, details),) = told("key.create")
        assert principal == "user:root"
        assert details["key"] == "made"
        assert {name: details["changed"][name] for name in ("source", "scopes", "actor_id")} == {
            "source": [None, "crm"],
            "scopes": [None, ["write"]],
            "actor_id": [None, "a-1"],
        }
        assert not {secret, secret[:15], only_key().digest} & set(re.findall(r"\w+", str(details)))

    def test_expires_in_a_year_unless_somebody_says_otherwise(self, root):
        page = root.get(f"{KEYS}add/").content.decode()
        shown = re.search(r'name="expiry_0" value="(\d{4}-\d\d-\d\d)"', page)

        assert shown is not None
        assert shown[1] == (timezone.now() + timedelta(days=365)).date().isoformat()

    def test_names_its_source_if_it_writes(self, root):
        assert b"needs the source" in root.post(f"{KEYS}add/", key_form(source="")).content
        assert not ApiKey.objects.exists()


class TestAKeyThatIsRotated:
    def test_hands_its_rights_to_a_successor_and_ends_a_day_later(self, root, api, time_machine):
        secret = make_key(
            scopes="read write", source="crm", actor_type="system", actor_id="cron", vouches_for=["agent"],
            clearance={"name": "c", "max_tier": "internal"},
        )  # fmt: skip
        old = only_key()
        make_memory(tier="internal", payload_id="seen")

        answer = act(root, "rotate", old)

        (fresh,) = set(SECRET.findall(answer.content.decode()))
        new = (
            only_key(name=f"{old.name}-2")
            if not old.name.rpartition("-")[2].isdecimal()
            else ApiKey.objects.latest("created")
        )
        for name in ("user", "source", "actor_type", "actor_id", "vouches_for", "scopes", "clearance"):
            assert getattr(new, name) == getattr(old, name), name
        assert new.expiry - new.created == pytest.approx(old.expiry - old.created, abs=timedelta(seconds=1))
        assert fresh != secret
        assert "no-store" in answer["Cache-Control"]
        for each in (secret, fresh):
            assert len(api(each).get("/api/memories").json()["records"]) == 1
        time_machine.move_to(timezone.now() + keys.GRACE + timedelta(seconds=5), tick=True)
        assert (api(secret).get("/api/memories").status_code, api(fresh).get("/api/memories").status_code) == (401, 200)

    def test_is_told_of_once_in_the_ledger(self, root):
        make_key()
        old = only_key()

        act(root, "rotate", old)

        ((principal, details),) = told("key.rotate")
        assert (principal, details["key"]) == ("user:root", old.name)
        assert ApiKey.objects.filter(name=details["successor"]).exists()
        assert (told("key.create"), told("key.change"), told("key.revoke")) == ([], [], [])

    def test_does_not_live_longer_for_it(self):
        make_key(expiry=timedelta(hours=1))
        before = only_key()

        keys.rotate(before, by=WRITER)

        assert only_key(pk=before.pk).expiry == before.expiry

    @pytest.mark.parametrize("fields", [{"revoked_at": "2026-01-01T00:00Z"}, {"expiry": "2026-01-01T00:00Z"}])
    def test_must_be_in_force(self, root, fields):
        make_key()
        ApiKey.objects.update(**fields)

        assert act(root, "rotate", only_key()).status_code == 302
        with pytest.raises(keys.NotInForce):
            keys.rotate(only_key(), by=WRITER)

        assert ApiKey.objects.count() == 1
        assert told("key.rotate") == []

    @pytest.mark.parametrize(
        ("name", "successors"),
        [("reader", ["reader-2", "reader-3"]), ("write-crm", ["write-crm-2", "write-crm-3"]), ("k-9", ["k-10", "k-11"]),
         ("2", ["2-2", "2-3"]), ("x" * 100, ["x" * 90 + "-2", "x" * 90 + "-3"])],
    )  # fmt: skip
    def test_is_followed_by_a_name_that_tells_whose_place_it_takes(self, name, successors):
        make_key()
        ApiKey.objects.update(name=name)
        key, made = only_key(), []

        for _ in successors:
            key, _secret = keys.rotate(key, by=WRITER)
            made.append(key.name)

        assert made == successors


class TestAKeyThatIsRevoked:
    def test_is_refused_from_then_on_and_told_of_once(self, root, api):
        secret = make_key()

        for _ in range(2):
            act(root, "revoke", only_key())

        assert api(secret).get("/api/memories").status_code == 401
        assert told("key.revoke") == [("user:root", {"key": only_key().name})]

    def test_stays_on_record(self, root):
        make_key()
        key = only_key()

        assert root.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        assert act(root, "delete_selected", key).status_code in (200, 302)
        assert ApiKey.objects.exists()


class TestAKeyThatIsChanged:
    def test_is_told_of_with_what_was_and_what_is(self, root):
        make_key(scopes="write", source="crm")
        key = only_key()

        sent = key_form(scopes=["write", "read"], source="mail", expiry_0="2027-01-01", expiry_1="00:00")
        assert root.post(f"{KEYS}{key.pk}/change/", sent).status_code == 302

        ((_, details),) = told("key.change")
        assert details["key"] == key.name
        assert details["changed"]["source"] == ["crm", "mail"]
        assert details["changed"]["scopes"] == [["write"], ["read", "write"]]
        assert details["changed"]["expiry"][1] == "2027-01-01T00:00:00+00:00"

    def test_keeps_the_name_by_which_the_ledger_knows_it_and_cannot_be_unrevoked(self, root):
        make_key()
        ApiKey.objects.update(revoked_at=timezone.now())
        key = only_key()

        root.post(f"{KEYS}{key.pk}/change/", key_form(name="other", scopes=["read"], revoked_at_0="", revoked_at_1=""))

        assert only_key().name == key.name
        assert only_key().revoked_at == key.revoked_at


class TestPeople:
    def change(self, client: Client, user: User, **fields: Any) -> Any:
        held = UserClearance.objects.get(user=user)
        inline = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "1", "MIN_NUM_FORMS": "0", "MAX_NUM_FORMS": "1", "0-id": held.pk,
                  "0-user": user.pk, "0-clearance": held.clearance.pk, "0-scopes": held.scopes}  # fmt: skip
        sent = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00", "is_active": "on", **fields}
        return client.post(
            f"/admin/auth/user/{user.pk}/change/",
            {**{f"held_clearance-{name}": value for name, value in inline.items()}, **sent},
        )

    def test_are_told_of_with_what_was_and_what_is(self, root):
        ada = make_user("ada", name="low", max_tier="public")
        high = make_clearance(name="high", max_tier="restricted")

        answer = self.change(
            root, ada, **{"held_clearance-0-clearance": high.pk, "held_clearance-0-scopes": ["read", "audit"]}
        )

        assert answer.status_code == 302
        assert told("user.change") == [
            (
                "user:root",
                {"user": "ada", "changed": {"clearance": ["low", "high"], "scopes": [["read"], ["audit", "read"]]}},
            )
        ]

    def test_cannot_take_over_the_name_and_so_the_past_of_others(self, root):
        ada = make_user("ada")

        self.change(root, ada, username="root2", email="ada@example.org")

        assert User.objects.get(pk=ada.pk).username == "ada"
        assert root.post(f"/admin/auth/user/{ada.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_change_passwords_of_which_nothing_is_told(self, root):
        ada = make_user("ada")
        new = {"password1": "staple horse canary", "password2": "staple horse canary", "usable_password": "true"}

        root.post(f"/admin/auth/user/{ada.pk}/password/", new)

        assert told("user.change") == [("user:root", {"user": "ada", "changed": {"password": [None, "changed"]}})]

    def test_whose_password_was_refused_are_not_told_of(self, root):
        ada = make_user("ada")

        root.post(
            f"/admin/auth/user/{ada.pk}/password/", {"password1": "a", "password2": "b", "usable_password": "true"}
        )
        root.post("/admin/password_change/", {"old_password": "no", "new_password1": "a", "new_password2": "b"})

        assert told("user.change") == []


class TestClearances:
    def test_are_told_of_when_they_are_made_changed_and_deleted(self, root):
        root.post(f"{CLEARANCES}add/", {"name": "made", "max_tier": "internal", "every_namespace": "on"})
        made = ClearanceRecord.objects.get(name="made")
        root.post(f"{CLEARANCES}{made.pk}/change/", {"name": "made", "max_tier": "public", "blocked_labels": "pii,hr"})
        root.post(f"{CLEARANCES}{made.pk}/delete/", {"post": "yes"})

        changed = [details["changed"] for _, details in told("clearance.change")]
        assert changed[0]["max_tier"] == [None, "internal"]
        assert changed[1] == {
            "max_tier": ["internal", "public"],
            "blocked_labels": [[], ["hr", "pii"]],
            "every_namespace": [True, False],
        }
        assert changed[2]["max_tier"] == ["public", None]
        assert not ClearanceRecord.objects.filter(name="made").exists()

    def test_that_cannot_be_saved_are_not_told_of(self, root):
        root.post(f"{CLEARANCES}add/", {"name": "", "max_tier": "internal"})
        root.post(f"{CLEARANCES}add/", {"name": "x", "max_tier": "nonsense"})

        assert told("clearance.change") == []

    @pytest.mark.parametrize("field", ["blocked_labels", "required_labels"])
    @pytest.mark.parametrize("label", ["\u200b", "\u00ad\u3164", "\u2800"])
    def test_name_labels_that_can_be_seen(self, root, field, label):
        typed = {"name": "x", "max_tier": "internal", field: f"pii,{label}"}

        answer = root.post(f"{CLEARANCES}add/", typed)

        assert b"A label must hold something that can be seen." in answer.content
        assert not ClearanceRecord.objects.filter(name="x").exists()
        assert root.post(f"{CLEARANCES}add/", typed | {field: f"pii,p{label}"}).status_code == 302


class TestThePreviewOfAClearance:
    def preview(self, client: Client, **fields: Any) -> tuple[int, int] | None:
        sent = {"name": "draft", "max_tier": "restricted", "every_namespace": "on", **fields}
        answer = client.post(
            f"{CLEARANCES}preview/", {n: v for n, v in sent.items() if v}, headers={"HX-Request": "true"}
        )
        assert answer.status_code == 200
        found = re.search(r"sees <strong>([\d,]+)</strong> of the <strong>([\d,]+)</strong>", answer.content.decode())
        return (int(found[1]), int(found[2])) if found else None

    @pytest.fixture(autouse=True)
    def _memories(self) -> None:
        for tier in ("public", "internal", "confidential", "restricted"):
            make_memory(tier=tier)
        make_memory(labels=["PII"])
        make_memory(namespace="team", labels=["eu"])
        make_memory(expires_at="2999-01-01T00:00:00Z", tier="internal")
        make_memory(expires_at="2001-01-01T00:00:00Z")

    @pytest.mark.parametrize(
        ("fields", "seen"),
        [
            ({}, 7),
            ({"max_tier": "internal"}, 5),
            ({"max_tier": "public"}, 3),
            ({"blocked_labels": "pii"}, 6),
            ({"required_labels": "EU"}, 1),
            ({"every_namespace": "", "namespaces": "team"}, 1),
            ({"every_namespace": ""}, 0),
            ({"max_tier": "internal", "blocked_labels": "pii,eu"}, 3),
            ({"name": "top"}, 7),
            ({"name": ""}, 7),
        ],
    )
    def test_counts_what_it_would_see(self, root, fields, seen):
        assert self.preview(root, **fields) == (seen, 7)

    @pytest.mark.parametrize(
        ("own", "fields", "expected"),
        [
            ({"max_tier": "internal"}, {}, (5, 5)),
            ({"max_tier": "internal", "blocked_labels": ["pii"]}, {}, (4, 4)),
            ({"max_tier": "internal", "blocked_labels": ["pii"]}, {"max_tier": "public"}, (2, 4)),
            ({"every_namespace": False, "namespaces": ["team"]}, {}, (1, 1)),
            ({"required_labels": ["eu"]}, {"max_tier": "public"}, (1, 1)),
        ],
    )
    def test_counts_nothing_that_its_editor_may_not_see(self, root, own, fields, expected):
        ClearanceRecord.objects.filter(name="top").update(**own)

        assert self.preview(root, **fields) == expected

    def test_says_nothing_of_a_clearance_that_is_not_complete(self, root):
        assert self.preview(root, max_tier="nonsense") is None

    def test_saves_nothing(self, root):
        self.preview(root)

        assert not ClearanceRecord.objects.filter(name="draft").exists()
        assert told("clearance.change") == []

    def test_is_a_page_without_a_script(self, root):
        page = root.post(f"{CLEARANCES}preview/", {"name": "x", "max_tier": "public", "every_namespace": "on"}).content
        form = root.get(f"{CLEARANCES}add/").content.decode()

        assert b"</html>" in page
        assert b"sees <strong>3</strong> of the <strong>7</strong>" in page
        assert f'formaction="{CLEARANCES}preview/"' in form
        assert f'hx-post="{CLEARANCES}preview/"' in form
        assert not re.search(r"<script(?![^>]* src=)[^>]*>", form), (
            "the policy lets no script run that stands in a page"
        )


def test_whoever_signs_a_deed_is_who_did_it():
    make_key()
    keys.revoke(only_key(), by=Principal(name="key:operator"), request_id="r-1")

    entry = AuditEntry.objects.get(action="key.revoke")
    assert (entry.principal, entry.request_id, entry.reach_tiers) == ("key:operator", "r-1", ["public"])
