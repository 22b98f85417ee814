"""Looking through the inspector as somebody else: what they see is exactly what that caller would get."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from memoryhub.access_log import read_log
from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import view_as
from memoryhub.firewall.clearance import get_tier_order
from memoryhub.firewall.models import ApiKey, ClearanceProfile, UserAccess
from memoryhub.firewall.principal_lookup import resolve_principal
from tests.factories import make_clearance, make_key, make_memory, make_user, utc
from tests.harness.strategies import SOAK
from tests.inspector.clients import logged_in_client, response_text
from tests.shared_world import shared_world

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
VIEWER_SCOPES = "read curate view_as"


@pytest.fixture
def boss() -> Client:
    return logged_in_client(make_user("boss", max_tier="restricted", scopes=VIEWER_SCOPES))


def start_view_as(client: Client, name: str) -> Any:
    return client.post("/view-as", {"as": name})


def make_named_key(name: str, **fields: Any) -> ApiKey:
    secret = make_key(**{"clearance": {"max_tier": "internal"}, **fields})
    ApiKey.objects.filter(token_key=secret[:15]).update(name=name)
    key: ApiKey = ApiKey.objects.get(name=name)
    return key


def audit_details(action: str) -> list[tuple[str, dict[str, Any]]]:
    entries = AuditEntry.objects.filter(action=action).order_by("seq")
    return [(entry.principal, entry.details) for entry in entries]


def make_varied_memories() -> list[str]:
    """Memories of every kind, and the addresses that ask for them."""
    for index, tier in enumerate([*get_tier_order(), "", "public"] * (5 if SOAK else 3)):
        make_memory(
            tier=tier,
            labels=["pii"] if index % 3 == 0 else ["eu"],
            namespace=("", "team", "other")[index % 3],
            subject="user:ada",
            collection=("city", "job")[index % 2],
            timestamp=utc("2026-03-01 12:00") + timedelta(hours=index),
        )
    visible_memory = make_memory(
        payload_id="twice", tier="public", subject="user:ada", collection="city", labels=["eu"]
    )
    make_memory(payload_id="twice", tier="public", subject="user:ada", collection="city", labels=["eu"], content="New")
    hidden = make_memory(tier="restricted", subject="user:ada", collection="city")
    return [
        "/",
        "/?limit=2",
        "/?q=fact&limit=3",
        "/?tier=restricted",
        "/?label=pii&from=2026-03-01",
        "/?tier=secret",
        f"/memories/{visible_memory.memory_id}",
        f"/memories/{hidden.memory_id}",
        "/help",
        "/api/docs",
        "/api/memories?limit=3",
        "/api/facets",
        "/api/histogram",
        f"/api/memories/{visible_memory.memory_id}/versions",
        f"/api/memories/{hidden.memory_id}",
    ]


def without_view_as_banner(page: str) -> str:
    """A page without the parts that differ by account: the banner, the account's name, and tokens."""
    for pattern, replacement in (
        (r"<aside class=\"view-as\".*?</aside>\s*", ""),
        (r"(<title>)As [^ ]*: ", r"\1"),
        (r"<body[^>]*>", "<body>"),
        (r"name=\"csrfmiddlewaretoken\" value=\"\w+\"", ""),
        (r"boss|analyst", "somebody"),
        (r"\"request_id\":\"\w+\"|<code class=\"wrap\">\w{32}</code>", ""),
    ):
        page = re.sub(pattern, replacement, page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", page)


CLEARANCE_LIMITS: list[dict[str, Any]] = [
    {"max_tier": "public"},
    {"max_tier": "internal", "blocked_labels": ["PII"]},
    {"max_tier": "confidential", "required_labels": ["eu"], "scopes": "read curate"},
    {"max_tier": "restricted", "all_namespaces": False, "namespaces": ["team"], "scopes": "read view_as"},
    {"max_tier": "restricted", "scopes": "write"},
]


@pytest.fixture(scope="class")
def varied_paths(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    with shared_world(request):
        yield make_varied_memories()


class TestWhatTheySee:
    @pytest.mark.parametrize("limits", CLEARANCE_LIMITS, ids=str)
    def test_is_exactly_what_that_caller_would_get(
        self, varied_paths: list[str], boss: Client, limits: dict[str, Any]
    ) -> None:
        target_client = logged_in_client(make_user("analyst", **limits))
        paths = list(varied_paths)
        assert start_view_as(boss, "user:analyst")["Location"] == "/"
        page_count = 0

        while paths:
            path = paths.pop()
            target_page, viewer_page = target_client.get(path), boss.get(path)
            assert (viewer_page.status_code, without_view_as_banner(response_text(viewer_page))) == (
                target_page.status_code,
                without_view_as_banner(response_text(target_page)),
            ), path
            assert ('class="view-as"' in response_text(viewer_page)) == (
                "<!doctype html>" in response_text(viewer_page)
            )
            if older_match := re.search(
                r'href="([^"]+)"[^>]*id="older"|id="older"[^>]*href="([^"]+)"', response_text(viewer_page)
            ):
                paths.append((older_match[1] or older_match[2]).replace("&amp;", "&"))
                page_count += 1

        assert page_count > 2 or limits["scopes"] == "write", "cursors are theirs, too"

    @pytest.mark.usefixtures("varied_paths")
    def test_holds_for_the_parts_that_htmx_swaps_too(self, boss: Client) -> None:
        target_client = logged_in_client(make_user("analyst", max_tier="public"))
        start_view_as(boss, "user:analyst")
        page = response_text(boss.get("/"))
        tag = re.search(r"hx-headers='\{\"View-As\": \"(\w+)\"\}'", page)
        assert tag is not None

        target_page, viewer_page = (
            target_client.get("/?limit=2", headers=HTMX),
            boss.get("/?limit=2", headers={**HTMX, "View-As": tag[1]}),
        )

        assert target_page.content == viewer_page.content != b""


def test_a_page_of_before_is_loaded_anew_rather_than_mixed_with_somebody_elses_rows(boss: Client) -> None:
    """The session is one for all tabs: a tab whose banner is not of now gets no rows."""
    make_user("analyst", max_tier="public")
    make_varied_memories()
    start_view_as(boss, "user:analyst")
    tag = view_as.get_target("user:analyst", resolve_principal(User.objects.get(username="boss")))
    assert tag is not None

    without_banner = boss.get("/", headers=HTMX)
    boss.post("/view-as/stop")
    with_banner = boss.get("/", headers={**HTMX, "View-As": tag.header_tag})

    assert [(response["HX-Refresh"], response.content) for response in (without_banner, with_banner)] == [
        ("true", b"")
    ] * 2


def test_a_key_is_looked_as_with_its_clearance_and_its_scopes(boss: Client) -> None:
    visible_memory, hidden = (
        make_memory(tier="internal", content="Seen."),
        make_memory(tier="restricted", content="Hidden."),
    )
    make_named_key("agent")
    make_named_key("writer", scopes="write", source="crm")

    start_view_as(boss, "key:agent")
    page = response_text(boss.get("/"))
    assert "Seen." in page
    assert "Hidden." not in page
    assert "Viewing as <strong><bdi>key:agent</bdi></strong>" in page
    assert "(up to internal)" in page
    paths = [f"/memories/{memory.memory_id}" for memory in (visible_memory, hidden)]
    assert [boss.get(path).status_code for path in paths] == [200, 404]

    start_view_as(boss, "key:writer")
    assert boss.get("/").status_code == 403


def test_a_clearance_is_looked_as_like_a_reader_who_holds_it(boss: Client) -> None:
    make_memory(tier="internal", content="Seen.")
    make_memory(tier="internal", content="Hidden.", labels=["hr"])
    make_clearance(name="no people", max_tier="internal", blocked_labels=["HR"])

    start_view_as(boss, "clearance:no people")

    assert "Seen." in response_text(boss.get("/"))
    assert "Hidden." not in response_text(boss.get("/"))


def _disable_owner(key: ApiKey) -> None:
    User.objects.filter(pk=key.user_id).update(is_active=False)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now()), "is revoked"),
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(expiry=timezone.now()), "has expired"),
        (_disable_owner, "belongs to a disabled user"),
    ],
)
def test_a_key_that_is_none_any_more_gets_nothing_and_it_is_said(
    boss: Client, end: Callable[[ApiKey], Any], message: str
) -> None:
    make_memory(content="Seen.", tier="public")
    key = make_named_key("agent")
    start_view_as(boss, "key:agent")
    assert boss.get("/").status_code == 200

    end(key)
    response = boss.get("/")

    assert response.status_code == 403
    assert f"key:agent {message}: it gets nothing." in response_text(response)
    assert "Seen." not in response_text(response)
    assert boss.get("/api/memories").status_code == 403
    assert f"{message}: gets nothing" in response_text(boss.get("/view-as"))


def test_a_disabled_user_gets_nothing_and_it_is_said(boss: Client) -> None:
    User.objects.filter(pk=make_user("analyst").pk).update(is_active=False)

    start_view_as(boss, "user:analyst")

    assert "user:analyst is disabled: it gets nothing." in response_text(boss.get("/"))


LOW: dict[str, Any] = {
    "max_tier": "internal", "blocked_labels": ["pii"], "all_namespaces": False, "namespaces": ["team"],
}  # fmt: skip
WIDER_TARGETS: dict[str, dict[str, Any]] = {
    "a higher tier": {**LOW, "max_tier": "restricted"},
    "without the block": {**LOW, "blocked_labels": []},
    "every namespace": {**LOW, "all_namespaces": True},
    "another namespace": {**LOW, "namespaces": ["team", "other"]},
    "who reads the audit log": {**LOW, "scopes": "read audit"},
    "who may everything": {**LOW, "scopes": "admin"},
}


@pytest.mark.parametrize("wider_target", WIDER_TARGETS.values(), ids=WIDER_TARGETS.keys())
def test_who_sees_or_reads_more_is_answered_as_who_is_not_there(wider_target: dict[str, Any]) -> None:
    client = logged_in_client(make_user("boss", scopes=VIEWER_SCOPES, **LOW))
    make_user("ada", **{**wider_target, "name": "theirs"})

    responses = [
        start_view_as(client, name) for name in ("user:ada", "user:eve", "clearance:no", "nobody", "", "key:\0")
    ]

    pages = {
        re.sub(r"<code class=\"wrap\">\w+</code>|value=\"\w{64}\"", "", response_text(response))
        for response in responses
    }
    assert [response.status_code for response in responses] == [404] * 6
    assert len(pages) == 1
    assert "user:ada" not in response_text(client.get("/view-as"))
    assert response_text(client.get("/view-as?q=ada")).replace("ada", "eve").count("Nobody of that name") == 1
    assert "looking" not in response_text(client.get("/"))
    assert audit_details("view_as.start") == []


def test_the_page_offers_who_sees_no_more_and_finds_them_by_name(boss: Client) -> None:
    make_user("analyst", name="low", max_tier="internal", blocked_labels=["pii"])
    make_named_key("agent")

    page, search_page = response_text(boss.get("/view-as")), response_text(boss.get("/view-as?q=AGEN"))

    assert all(f'name="as" value="{name}"' in page for name in ("clearance:low", "user:analyst", "key:agent"))
    assert 'value="user:boss"' not in page
    assert "not pii" in page
    assert 'value="key:agent"' in search_page
    assert 'value="user:analyst"' not in search_page
    assert "Nobody of that name" in response_text(boss.get("/view-as?q=zzz"))
    assert [boss.get(path).status_code for path in ("/view-as?x=1", "/view-as?q=%00")] == [400, 400]


def test_without_the_scope_there_is_no_page_and_no_entry_in_the_menu() -> None:
    make_user("analyst", max_tier="public")
    client = logged_in_client(make_user("reader", max_tier="restricted"))

    responses = [client.get("/view-as"), start_view_as(client, "user:analyst"), start_view_as(client, "user:nobody")]

    assert [response.status_code for response in responses] == [403, 403, 403]
    assert "/view-as" not in response_text(client.get("/"))
    assert [Client().get("/view-as")["Location"], start_view_as(Client(), "x")["Location"]] == [
        "/sign-in?next=/view-as"
    ] * 2


def test_start_switch_and_stop_are_one_entry_each_by_the_person(boss: Client) -> None:
    make_user("analyst", max_tier="public")
    make_named_key("agent")

    start_view_as(boss, "user:analyst")
    start_view_as(boss, "key:agent")
    assert boss.post("/view-as/stop", {"next": "/?tier=public&cursor=x"})["Location"] == "/?tier=public"
    assert boss.post("/view-as/stop", {"next": "//evil.example"})["Location"] == "/"

    assert audit_details("view_as.start") == [
        ("user:boss", {"view_as": "user:analyst"}),
        ("user:boss", {"view_as": "key:agent", "previous_target": "user:analyst"}),
    ]
    assert audit_details("view_as.stop") == [("user:boss", {"view_as": "key:agent"})]
    assert "looking" not in response_text(boss.get("/"))
    assert [boss.get("/view-as/stop").status_code, boss.put("/view-as").status_code] == [405, 405]


def test_what_is_read_meanwhile_is_read_by_the_person(boss: Client) -> None:
    memory = make_memory(tier="public")
    make_memory(tier="restricted")
    make_user("analyst", max_tier="public")
    start_view_as(boss, "user:analyst")

    for path in ("/", f"/memories/{memory.memory_id}", "/api/memories"):
        assert boss.get(path).status_code == 200
    read_log.flush_reads()

    entries = list(AuditEntry.objects.filter(action="memory.read").order_by("seq"))
    assert {(entry.principal, entry.details["view_as"]) for entry in entries} == {("user:boss", "user:analyst")}
    assert [entry.memory_ids for entry in entries] == [[memory.memory_id]] * 3
    assert {tuple(entry.clearance_tiers) for entry in entries} == {("public",)}


def test_nothing_is_changed_meanwhile_but_signing_out_and_the_theme(boss: Client) -> None:
    memory = make_memory(tier="public")
    UserAccess.objects.filter(user__username="boss").update(scopes=["read", "view_as", "curate", "write"])
    make_user("analyst", max_tier="public", scopes="read curate write")
    start_view_as(boss, "user:analyst")
    before = AuditEntry.objects.count()

    refused_response = boss.post(f"/memories/{memory.memory_id}/unmask")
    write_response = boss.post("/api/memories", {"payload_id": "x", "content": "y"}, content_type="application/json")

    assert (refused_response.status_code, write_response.status_code, write_response["Content-Type"]) == (
        403,
        403,
        "application/problem+json",
    )
    assert "Nothing was changed. Stop viewing as user:analyst first." in response_text(refused_response)
    assert AuditEntry.objects.count() == before
    assert boss.post("/theme", {"theme": "dark"}).status_code == 302
    assert boss.post("/sign-out").status_code == 302


def test_a_key_beside_the_session_is_itself(boss: Client) -> None:
    """The API forgets the session of who comes with a key: whom that session views as, too."""
    make_memory(tier="restricted")
    make_user("analyst", max_tier="public")
    start_view_as(boss, "user:analyst")
    key = make_key(scopes="read write", clearance={"max_tier": "restricted"})
    headers = {"Authorization": f"Bearer {key}"}

    list_response = boss.get("/api/memories", headers=headers)
    write_response = boss.post(
        "/api/memories", {"payload_id": "x", "content": "y"}, content_type="application/json", headers=headers
    )

    assert (len(list_response.json()["records"]), write_response.status_code) == (1, 201)
    assert 'class="view-as"' in response_text(boss.get("/")), "and ends nothing"


def test_the_administration_is_closed_meanwhile() -> None:
    admin = make_user("admin", max_tier="restricted", scopes="admin")
    User.objects.filter(pk=admin.pk).update(is_staff=True, is_superuser=True)
    client = logged_in_client(admin)
    make_user("analyst", max_tier="public")
    start_view_as(client, "user:analyst")

    responses = [client.get("/admin/"), client.get("/admin/auth/user/"), client.post("/admin/auth/user/add/")]

    assert [response.status_code for response in responses] == [403] * 3
    assert "The administration knows your own rights alone." in response_text(responses[0])
    assert 'class="view-as"' in response_text(responses[0])


def _lower_viewer_clearance() -> None:
    ClearanceProfile.objects.filter(holders__user__username="boss").update(max_tier=get_tier_order()[0])


def _raise_target_clearance() -> None:
    ClearanceProfile.objects.filter(name="theirs").update(max_tier="restricted", blocked_labels=[])
    ClearanceProfile.objects.filter(holders__user__username="boss").update(blocked_labels=["pii"])


def _remove_view_as_scope() -> None:
    UserAccess.objects.filter(user__username="boss").update(scopes=["read"])


def _delete_target() -> None:
    User.objects.filter(username="analyst").delete()


@pytest.mark.parametrize(
    "change", [_lower_viewer_clearance, _raise_target_clearance, _remove_view_as_scope, _delete_target]
)
def test_it_ends_with_a_message_as_soon_as_it_is_not_allowed_any_more(boss: Client, change: Callable[[], None]) -> None:
    make_user("analyst", name="theirs", max_tier="internal")
    start_view_as(boss, "user:analyst")
    boss.get("/")

    change()
    first, second = response_text(boss.get("/")), response_text(boss.get("/"))

    assert "You may not view as user:analyst any more. You see as yourself again." in first
    assert 'class="view-as"' not in first + second
    assert "any more" not in second
    assert audit_details("view_as.stop") == [
        ("user:boss", {"view_as": "user:analyst", "reason": "not allowed any more"})
    ]


def test_a_clearance_that_changes_holds_at_once(boss: Client) -> None:
    make_memory(tier="internal", content="Seen at first.")
    make_user("analyst", name="theirs", max_tier="internal")
    start_view_as(boss, "user:analyst")
    assert "Seen at first." in response_text(boss.get("/"))

    ClearanceProfile.objects.filter(name="theirs").update(max_tier="public")

    assert "Seen at first." not in response_text(boss.get("/"))


@pytest.mark.parametrize(
    "path", ["/", "/help", "/api/docs", "/no-such-page", "/memories/x", "/?tier=secret", "/view-as"]
)
def test_the_banner_is_on_every_page(boss: Client, path: str) -> None:
    make_named_key("agent")
    start_view_as(boss, "key:agent")

    page = response_text(boss.get(path))

    assert re.search(r'<p class="view-as__target" role="alert"><span>Viewing as <strong><bdi>key:agent</bdi>', page)
    assert "<title>As key:agent: " in page
    assert 'action="/view-as/stop"' in page


def test_the_next_one_to_sign_in_looks_as_nobody_else(boss: Client) -> None:
    make_user("analyst", "correct horse battery", max_tier="public")
    start_view_as(boss, "user:analyst")
    boss.post("/sign-out")

    boss.post("/sign-in", {"username": "boss", "password": "correct horse battery"})

    assert 'class="view-as"' not in response_text(boss.get("/"))


def test_the_labels_of_a_clearance_stand_in_the_same_order_in_every_process(boss: Client) -> None:
    """Sets of texts are in another order in each process, unless PYTHONHASHSEED says otherwise."""
    blocked, required = ([f"{word}-{index:02}" for index in range(12)] for word in ("not-this", "only-this"))
    make_user("analyst", max_tier="public", blocked_labels=blocked[::-1], required_labels=required[::-1])

    shown_labels = re.findall(
        r"<bdi>(?:not|only) ((?:not|only)-this-\d\d)</bdi>", response_text(boss.get("/view-as?q=analyst"))
    )

    assert shown_labels == blocked + required
