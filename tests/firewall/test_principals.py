"""Who is behind a request, and what a clearance on record means."""

import pytest
from django.contrib.auth.models import AnonymousUser, User

from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from tests.builders import make_clearance, make_key, make_user

pytestmark = pytest.mark.django_db


def test_nobody_may_do_nothing_and_sees_public_only():
    assert principal_of(AnonymousUser()) == Principal(name="anonymous", clearance=Clearance(max_tier="public"))
    assert not any(principal_of(AnonymousUser()).may(scope) for scope in Scope)


def test_a_disabled_user_is_nobody():
    user = make_user("ada", max_tier="restricted", scopes="read admin")
    user.is_active = False

    assert principal_of(user).name == "anonymous"
    assert principal_of(user).scopes == frozenset()
    assert principal_of(user).clearance == Clearance()


def test_a_user_without_a_clearance_reads_public_memories():
    principal = principal_of(User.objects.create_user("ada"))

    assert principal.clearance == Clearance(max_tier="public")
    assert principal.scopes == {Scope.READ}


def test_a_superuser_without_a_clearance_sees_no_more():
    assert principal_of(User.objects.create_superuser("root")).clearance == Clearance(max_tier="public")


def test_a_user_holds_what_the_record_says():
    user = make_user(
        "ada",
        scopes="read inspect",
        max_tier="confidential",
        blocked_labels=["pii"],
        required_labels=["eu"],
        every_namespace=False,
        namespaces=["team"],
    )

    principal = principal_of(user)

    assert principal.name == "user:ada"
    assert principal.actor_type == "user"
    assert principal.source is None
    assert principal.scopes == {Scope.READ, Scope.INSPECT}
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

    principal = principal_of(owner, ApiKey.objects.get())

    assert principal.name.startswith("key:")
    assert principal.clearance == Clearance()
    assert principal.scopes == {Scope.READ}


def test_a_user_and_a_key_of_one_name_are_two_principals():
    make_key()
    key = ApiKey.objects.get()

    assert principal_of(make_user(key.name)).name != key.as_principal().name


@pytest.mark.parametrize(
    ("record", "namespaces"),
    [
        ({}, None),
        ({"every_namespace": False}, frozenset()),
        ({"every_namespace": False, "namespaces": ["a"]}, frozenset({"a"})),
        ({"every_namespace": True, "namespaces": ["a"]}, None),
    ],
)
def test_every_namespace_is_said_and_not_implied_by_an_empty_list(record, namespaces):
    assert make_clearance(**record).as_clearance().namespaces == namespaces


def test_an_admin_may_do_what_every_scope_may():
    admin = Principal(name="key:admin", scopes=frozenset({Scope.ADMIN}))

    assert all(admin.may(scope) for scope in Scope)


def test_who_may_read_may_not_write():
    reader = Principal(name="key:reader", scopes=frozenset({Scope.READ}))

    assert [scope for scope in Scope if reader.may(scope)] == [Scope.READ]


def test_the_operators_own_clearance_reaches_the_highest_tier_that_there_is(settings):
    assert everything().max_tier == "restricted"
    settings.MEMORYHUB = settings.MEMORYHUB.model_copy(update={"tiers": ["low", "high"]})
    assert everything().max_tier == "high"
