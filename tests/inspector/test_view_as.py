"""Looking through the inspector as somebody else: what they see is exactly what that caller would get."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import view_as
from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import tier_order
from memoryhub.ops import reads
from tests.builders import at, make_clearance, make_key, make_memory, make_user
from tests.inspector.pages import client_of, text

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
BOSS = "read inspect view_as"


@pytest.fixture
def boss() -> Client:
    return client_of(make_user("boss", max_tier="restricted", scopes=BOSS))


def look(client: Client, name: str) -> Any:
    return client.post("/view-as", {"as": name})


def named_key(name: str, **fields: Any) -> ApiKey:
    secret = make_key(**{"clearance": {"max_tier": "internal"}, **fields})
    ApiKey.objects.filter(token_key=secret[:15]).update(name=name)
    key: ApiKey = ApiKey.objects.get(name=name)
    return key


def told(action: str) -> list[tuple[str, dict[str, Any]]]:
    entries = AuditEntry.objects.filter(action=action).order_by("seq")
    return [(entry.principal, entry.details) for entry in entries]


def a_world() -> list[str]:
    """Memories of every kind, and the addresses that ask for them."""
    for number, tier in enumerate([*tier_order(), "", "public"] * 5):
        make_memory(
            tier=tier,
            labels=["pii"] if number % 3 == 0 else ["eu"],
            namespace=("", "team", "other")[number % 3],
            subject="user:ada",
            collection=("city", "job")[number % 2],
            timestamp=at("2026-03-01 12:00") + timedelta(hours=number),
        )
    seen = make_memory(payload_id="twice", tier="public", subject="user:ada", collection="city", labels=["eu"])
    make_memory(payload_id="twice", tier="public", subject="user:ada", collection="city", labels=["eu"], content="New")
    hidden = make_memory(tier="restricted", subject="user:ada", collection="city")
    return [
        "/",
        "/?limit=2",
        "/?q=fact&limit=3",
        "/?tier=restricted",
        "/?label=pii&from=2026-03-01",
        "/?tier=secret",
        f"/memories/{seen.memory_id}",
        f"/memories/{hidden.memory_id}",
        "/help",
        "/api/docs",
        "/api/memories?limit=3",
        "/api/facets",
        "/api/histogram",
        f"/api/memories/{seen.memory_id}/versions",
        f"/api/memories/{hidden.memory_id}",
    ]


def as_somebody_else(page: str) -> str:
    """A page without what belongs to whoever sits before it: the banner, the account's name, and tokens."""
    for pattern, instead in (
        (r"<aside class=\"looking\".*?</aside>\s*", ""),
        (r"(<title>)As [^ ]*: ", r"\1"),
        (r"<body[^>]*>", "<body>"),
        (r"name=\"csrfmiddlewaretoken\" value=\"\w+\"", ""),
        (r"boss|analyst", "somebody"),
        (r"\"request_id\":\"\w+\"|<code class=\"wrap\">\w{32}</code>", ""),
    ):
        page = re.sub(pattern, instead, page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", page)


LIMITS: list[dict[str, Any]] = [
    {"max_tier": "public"},
    {"max_tier": "internal", "blocked_labels": ["PII"]},
    {"max_tier": "confidential", "required_labels": ["eu"], "scopes": "read inspect"},
    {"max_tier": "restricted", "every_namespace": False, "namespaces": ["team"], "scopes": "read view_as"},
    {"max_tier": "restricted", "scopes": "write"},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_what_they_see_is_exactly_what_that_caller_would_get(boss: Client, limits: dict[str, Any]) -> None:
    itself = client_of(make_user("analyst", **limits))
    paths = a_world()
    assert look(boss, "user:analyst")["Location"] == "/"
    walked = 0

    while paths:
        path = paths.pop()
        theirs, ours = itself.get(path), boss.get(path)
        assert (ours.status_code, as_somebody_else(text(ours))) == (
            theirs.status_code,
            as_somebody_else(text(theirs)),
        ), path
        assert ('class="looking"' in text(ours)) == ("<!doctype html>" in text(ours))
        if older := re.search(r'href="([^"]+)"[^>]*id="older"|id="older"[^>]*href="([^"]+)"', text(ours)):
            paths.append((older[1] or older[2]).replace("&amp;", "&"))
            walked += 1

    assert walked > 2 or limits["scopes"] == "write", "cursors are theirs, too"


def test_the_parts_that_htmx_swaps_are_theirs_too(boss: Client) -> None:
    itself = client_of(make_user("analyst", max_tier="public"))
    a_world()
    look(boss, "user:analyst")
    page = text(boss.get("/"))
    tag = re.search(r"hx-headers='\{\"Looks-As\": \"(\w+)\"\}'", page)
    assert tag is not None

    theirs, ours = itself.get("/?limit=2", headers=HTMX), boss.get("/?limit=2", headers={**HTMX, "Looks-As": tag[1]})

    assert theirs.content == ours.content != b""


def test_a_page_of_before_is_loaded_anew_rather_than_mixed_with_somebody_elses_rows(boss: Client) -> None:
    """The session is one for all tabs: a tab whose banner is not of now gets no rows."""
    make_user("analyst", max_tier="public")
    a_world()
    look(boss, "user:analyst")
    tag = view_as.target("user:analyst", principal_of(User.objects.get(username="boss")))
    assert tag is not None

    without_banner = boss.get("/", headers=HTMX)
    boss.post("/view-as/stop")
    with_banner = boss.get("/", headers={**HTMX, "Looks-As": tag.tag})

    assert [(answer["HX-Refresh"], answer.content) for answer in (without_banner, with_banner)] == [("true", b"")] * 2


def test_a_key_is_looked_as_with_its_clearance_and_its_scopes(boss: Client) -> None:
    seen, hidden = make_memory(tier="internal", content="Seen."), make_memory(tier="restricted", content="Hidden.")
    named_key("agent")
    named_key("writer", scopes="write", source="crm")

    look(boss, "key:agent")
    page = text(boss.get("/"))
    assert "Seen." in page
    assert "Hidden." not in page
    assert "You look as <strong><bdi>key:agent</bdi></strong>" in page
    assert "(up to internal)" in page
    paths = [f"/memories/{memory.memory_id}" for memory in (seen, hidden)]
    assert [boss.get(path).status_code for path in paths] == [200, 404]

    look(boss, "key:writer")
    assert boss.get("/").status_code == 403


def test_a_clearance_is_looked_as_like_a_reader_who_holds_it(boss: Client) -> None:
    make_memory(tier="internal", content="Seen.")
    make_memory(tier="internal", content="Hidden.", labels=["hr"])
    make_clearance(name="no people", max_tier="internal", blocked_labels=["HR"])

    look(boss, "clearance:no people")

    assert "Seen." in text(boss.get("/"))
    assert "Hidden." not in text(boss.get("/"))


def _disable(key: ApiKey) -> None:
    User.objects.filter(pk=key.user_id).update(is_active=False)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now()), "is revoked"),
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(expiry=timezone.now()), "has expired"),
        (_disable, "belongs to a disabled user"),
    ],
)
def test_a_key_that_is_none_any_more_gets_nothing_and_it_is_said(
    boss: Client, end: Callable[[ApiKey], Any], said: str
) -> None:
    make_memory(content="Seen.", tier="public")
    key = named_key("agent")
    look(boss, "key:agent")
    assert boss.get("/").status_code == 200

    end(key)
    answer = boss.get("/")

    assert answer.status_code == 403
    assert f"key:agent {said}: it gets nothing." in text(answer)
    assert "Seen." not in text(answer)
    assert boss.get("/api/memories").status_code == 403
    assert f"{said}: gets nothing" in text(boss.get("/view-as"))


def test_a_disabled_user_gets_nothing_and_it_is_said(boss: Client) -> None:
    User.objects.filter(pk=make_user("analyst").pk).update(is_active=False)

    look(boss, "user:analyst")

    assert "user:analyst is disabled: it gets nothing." in text(boss.get("/"))


LOW: dict[str, Any] = {
    "max_tier": "internal", "blocked_labels": ["pii"], "every_namespace": False, "namespaces": ["team"],
}  # fmt: skip
ABOVE: dict[str, dict[str, Any]] = {
    "a higher tier": {**LOW, "max_tier": "restricted"},
    "without the block": {**LOW, "blocked_labels": []},
    "every namespace": {**LOW, "every_namespace": True},
    "another namespace": {**LOW, "namespaces": ["team", "other"]},
    "who reads the ledger": {**LOW, "scopes": "read audit"},
    "who may everything": {**LOW, "scopes": "admin"},
}


@pytest.mark.parametrize("above", ABOVE.values(), ids=ABOVE.keys())
def test_who_sees_or_reads_more_is_answered_as_who_is_not_there(above: dict[str, Any]) -> None:
    client = client_of(make_user("boss", scopes=BOSS, **LOW))
    make_user("ada", **{**above, "name": "theirs"})

    answers = [look(client, name) for name in ("user:ada", "user:eve", "clearance:no", "nobody", "", "key:\0")]

    pages = {re.sub(r"<code class=\"wrap\">\w+</code>|value=\"\w{64}\"", "", text(answer)) for answer in answers}
    assert [answer.status_code for answer in answers] == [404] * 6
    assert len(pages) == 1
    assert "user:ada" not in text(client.get("/view-as"))
    assert text(client.get("/view-as?q=ada")).replace("ada", "eve").count("Nobody of that name") == 1
    assert "looking" not in text(client.get("/"))
    assert told("view_as.start") == []


def test_the_page_offers_who_sees_no_more_and_finds_them_by_name(boss: Client) -> None:
    make_user("analyst", name="low", max_tier="internal", blocked_labels=["pii"])
    named_key("agent")

    page, found = text(boss.get("/view-as")), text(boss.get("/view-as?q=AGEN"))

    assert all(f'name="as" value="{name}"' in page for name in ("clearance:low", "user:analyst", "key:agent"))
    assert 'value="user:boss"' not in page
    assert "not pii" in page
    assert 'value="key:agent"' in found
    assert 'value="user:analyst"' not in found
    assert "Nobody of that name" in text(boss.get("/view-as?q=zzz"))
    assert [boss.get(path).status_code for path in ("/view-as?x=1", "/view-as?q=%00")] == [400, 400]


def test_without_the_scope_there_is_no_page_and_no_entry_in_the_menu() -> None:
    make_user("analyst", max_tier="public")
    client = client_of(make_user("reader", max_tier="restricted"))

    answers = [client.get("/view-as"), look(client, "user:analyst"), look(client, "user:nobody")]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert "/view-as" not in text(client.get("/"))
    assert [Client().get("/view-as")["Location"], look(Client(), "x")["Location"]] == ["/sign-in?next=/view-as"] * 2


def test_start_switch_and_stop_are_one_entry_each_by_the_person(boss: Client) -> None:
    make_user("analyst", max_tier="public")
    named_key("agent")

    look(boss, "user:analyst")
    look(boss, "key:agent")
    assert boss.post("/view-as/stop", {"next": "/?tier=public&cursor=x"})["Location"] == "/?tier=public"
    assert boss.post("/view-as/stop", {"next": "//evil.example"})["Location"] == "/"

    assert told("view_as.start") == [
        ("user:boss", {"view_as": "user:analyst"}),
        ("user:boss", {"view_as": "key:agent", "before": "user:analyst"}),
    ]
    assert told("view_as.stop") == [("user:boss", {"view_as": "key:agent"})]
    assert "looking" not in text(boss.get("/"))
    assert [boss.get("/view-as/stop").status_code, boss.put("/view-as").status_code] == [405, 405]


def test_what_is_read_meanwhile_is_read_by_the_person(boss: Client) -> None:
    memory = make_memory(tier="public")
    make_memory(tier="restricted")
    make_user("analyst", max_tier="public")
    look(boss, "user:analyst")

    for path in ("/", f"/memories/{memory.memory_id}", "/api/memories"):
        assert boss.get(path).status_code == 200
    reads.flush()

    entries = list(AuditEntry.objects.filter(action="memory.read").order_by("seq"))
    assert {(entry.principal, entry.details["view_as"]) for entry in entries} == {("user:boss", "user:analyst")}
    assert [entry.memory_ids for entry in entries] == [[memory.memory_id]] * 3
    assert {tuple(entry.reach_tiers) for entry in entries} == {("public",)}


def test_nothing_is_changed_meanwhile_but_signing_out_and_the_theme(boss: Client) -> None:
    memory = make_memory(tier="public")
    UserClearance.objects.filter(user__username="boss").update(scopes=["read", "view_as", "inspect", "write"])
    make_user("analyst", max_tier="public", scopes="read inspect write")
    look(boss, "user:analyst")
    before = AuditEntry.objects.count()

    refused = boss.post(f"/memories/{memory.memory_id}/reveal")
    written = boss.post("/api/memories", {"payload_id": "x", "content": "y"}, content_type="application/json")

    assert (refused.status_code, written.status_code, written["Content-Type"]) == (403, 403, "application/problem+json")
    assert "Nothing was changed. Stop looking as user:analyst first." in text(refused)
    assert AuditEntry.objects.count() == before
    assert boss.post("/theme", {"theme": "dark"}).status_code == 302
    assert boss.post("/sign-out").status_code == 302


def test_a_key_beside_the_session_is_itself(boss: Client) -> None:
    """The API forgets the session of who comes with a key: whom that session looks as, too."""
    make_memory(tier="restricted")
    make_user("analyst", max_tier="public")
    look(boss, "user:analyst")
    key = make_key(scopes="read write", clearance={"max_tier": "restricted"})
    headers = {"Authorization": f"Bearer {key}"}

    listed = boss.get("/api/memories", headers=headers)
    written = boss.post(
        "/api/memories", {"payload_id": "x", "content": "y"}, content_type="application/json", headers=headers
    )

    assert (len(listed.json()["records"]), written.status_code) == (1, 201)
    assert 'class="looking"' in text(boss.get("/")), "and ends nothing"


def test_the_administration_is_closed_meanwhile() -> None:
    admin = make_user("admin", max_tier="restricted", scopes="admin")
    User.objects.filter(pk=admin.pk).update(is_staff=True, is_superuser=True)
    client = client_of(admin)
    make_user("analyst", max_tier="public")
    look(client, "user:analyst")

    answers = [client.get("/admin/"), client.get("/admin/auth/user/"), client.post("/admin/auth/user/add/")]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert "The administration knows your own rights alone." in text(answers[0])
    assert 'class="looking"' in text(answers[0])


def _lower_the_viewer() -> None:
    ClearanceRecord.objects.filter(holders__user__username="boss").update(max_tier=tier_order()[0])


def _raise_the_target() -> None:
    ClearanceRecord.objects.filter(name="theirs").update(max_tier="restricted", blocked_labels=[])
    ClearanceRecord.objects.filter(holders__user__username="boss").update(blocked_labels=["pii"])


def _take_the_scope() -> None:
    UserClearance.objects.filter(user__username="boss").update(scopes=["read"])


def _delete_the_target() -> None:
    User.objects.filter(username="analyst").delete()


@pytest.mark.parametrize("change", [_lower_the_viewer, _raise_the_target, _take_the_scope, _delete_the_target])
def test_it_ends_with_a_message_as_soon_as_it_is_not_allowed_any_more(boss: Client, change: Callable[[], None]) -> None:
    make_user("analyst", name="theirs", max_tier="internal")
    look(boss, "user:analyst")
    boss.get("/")

    change()
    first, second = text(boss.get("/")), text(boss.get("/"))

    assert "You may not look as user:analyst any more. You see as yourself again." in first
    assert 'class="looking"' not in first + second
    assert "any more" not in second
    assert told("view_as.stop") == [("user:boss", {"view_as": "user:analyst", "why": "not allowed any more"})]


def test_a_clearance_that_changes_holds_at_once(boss: Client) -> None:
    make_memory(tier="internal", content="Seen at first.")
    make_user("analyst", name="theirs", max_tier="internal")
    look(boss, "user:analyst")
    assert "Seen at first." in text(boss.get("/"))

    ClearanceRecord.objects.filter(name="theirs").update(max_tier="public")

    assert "Seen at first." not in text(boss.get("/"))


@pytest.mark.parametrize(
    "path", ["/", "/help", "/api/docs", "/no-such-page", "/memories/x", "/?tier=secret", "/view-as"]
)
def test_the_banner_is_on_every_page(boss: Client, path: str) -> None:
    named_key("agent")
    look(boss, "key:agent")

    page = text(boss.get(path))

    assert re.search(r'<p class="looking__who" role="alert"><span>You look as <strong><bdi>key:agent</bdi>', page)
    assert "<title>As key:agent: " in page
    assert 'action="/view-as/stop"' in page


def test_the_next_one_to_sign_in_looks_as_nobody_else(boss: Client) -> None:
    make_user("analyst", "correct horse battery", max_tier="public")
    look(boss, "user:analyst")
    boss.post("/sign-out")

    boss.post("/sign-in", {"username": "boss", "password": "correct horse battery"})

    assert 'class="looking"' not in text(boss.get("/"))


def test_the_labels_of_a_clearance_stand_in_the_same_order_in_every_process(boss: Client) -> None:
    """Sets of texts are in another order in each process, unless PYTHONHASHSEED says otherwise."""
    blocked, required = ([f"{word}-{number:02}" for number in range(12)] for word in ("not-this", "only-this"))
    make_user("analyst", max_tier="public", blocked_labels=blocked[::-1], required_labels=required[::-1])

    shown = re.findall(r"<bdi>(?:not|only) ((?:not|only)-this-\d\d)</bdi>", text(boss.get("/view-as?q=analyst")))

    assert shown == blocked + required
