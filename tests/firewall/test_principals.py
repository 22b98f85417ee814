"""Who is behind a request, and what a clearance on record means."""

from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User

from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.firewall.principal_lookup import resolve_principal
from tests.factories import make_clearance, make_key, make_user

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.django_db


def test_nobody_may_do_nothing_and_sees_public_only():
    assert resolve_principal(AnonymousUser()) == Principal(name="anonymous", clearance=Clearance(max_tier="public"))
    assert not any(resolve_principal(AnonymousUser()).has_scope(scope) for scope in Scope)


def test_a_disabled_user_is_nobody():
    user = make_user("ada", max_tier="restricted", scopes="read admin")
    user.is_active = False

    assert resolve_principal(user).name == "anonymous"
    assert resolve_principal(user).scopes == frozenset()
    assert resolve_principal(user).clearance == Clearance()


def test_a_user_without_a_clearance_reads_public_memories():
    principal = resolve_principal(User.objects.create_user("ada"))

    assert principal.clearance == Clearance(max_tier="public")
    assert principal.scopes == {Scope.READ}


def test_a_superuser_without_a_clearance_sees_no_more():
    assert resolve_principal(User.objects.create_superuser("root")).clearance == Clearance(max_tier="public")


def test_a_user_holds_what_the_record_says():
    user = make_user(
        "ada",
        scopes="read curate",
        max_tier="confidential",
        blocked_labels=["pii"],
        required_labels=["eu"],
        all_namespaces=False,
        namespaces=["team"],
    )

    principal = resolve_principal(user)

    assert principal.name == "user:ada"
    assert principal.actor_type == "user"
    assert principal.source is None
    assert principal.scopes == {Scope.READ, Scope.CURATE}
    assert principal.clearance == Clearance(
        max_tier="confidential",
        blocked_labels=frozenset({"pii"}),
        required_labels=frozenset({"eu"}),
        namespaces=frozenset({"team"}),
        sees_quarantined=True,
    )


def test_a_key_counts_not_its_owner():
    owner = make_user("ada", max_tier="restricted", scopes="admin")
    make_key(owner="ada")

    principal = resolve_principal(owner, ApiKey.objects.get())

    assert principal.name.startswith("key:")
    assert principal.clearance == Clearance()
    assert principal.scopes == {Scope.READ}


def test_a_user_and_a_key_of_one_name_are_two_principals():
    make_key()
    key = ApiKey.objects.get()

    assert resolve_principal(make_user(key.name)).name != key.as_principal().name


@pytest.mark.parametrize(
    ("record", "namespaces"),
    [
        ({}, None),
        ({"all_namespaces": False}, frozenset()),
        ({"all_namespaces": False, "namespaces": ["a"]}, frozenset({"a"})),
        ({"all_namespaces": True, "namespaces": ["a"]}, None),
    ],
)
def test_every_namespace_is_said_and_not_implied_by_an_empty_list(record, namespaces):
    assert make_clearance(**record).as_clearance().namespaces == namespaces


def test_an_admin_may_do_what_every_scope_may():
    admin = Principal(name="key:admin", scopes=frozenset({Scope.ADMIN}))

    assert all(admin.has_scope(scope) for scope in Scope)


def test_who_may_read_may_not_write():
    reader = Principal(name="key:reader", scopes=frozenset({Scope.READ}))

    assert [scope for scope in Scope if reader.has_scope(scope)] == [Scope.READ]


def test_the_operators_own_clearance_reaches_the_highest_tier_that_there_is(settings):
    assert unrestricted_clearance().max_tier == "restricted"
    settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"tiers": ["low", "high"]})
    assert unrestricted_clearance().max_tier == "high"


def test_a_missing_scope_is_refused_in_one_place():
    """A refusal is `require_scopes`, apart from Django's admin and metrics, which ask for other permissions."""
    sources = {path: path.read_text() for room in ("memoryhub", "inspector") for path in (ROOT / room).rglob("*.py")}

    assert sum(source.count("raise MissingScopeError") for source in sources.values()) == 1
    assert {path.name for path, source in sources.items() if "raise PermissionDenied" in source} == {
        "admin.py",
        "admin_site.py",
        "metrics.py",
    }
