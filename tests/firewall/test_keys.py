"""API keys: kept as a hash, shown once, expiring, revocable."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principal import Scope
from tests.factories import make_clearance, make_key, make_memory

pytestmark = pytest.mark.django_db


def get_only_key() -> ApiKey:
    key: ApiKey = ApiKey.objects.get()
    return key


def test_the_database_holds_no_usable_key(api):
    secret = make_key()
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_keys::text FROM api_keys")
        ((row,),) = cursor.fetchall()

    assert secret not in row
    assert len(secret) > 60
    for stored_text in (get_only_key().digest, get_only_key().token_key):
        assert stored_text in row
        assert api(stored_text).get("/api/status").status_code == 401
    # The part in clear text finds the row and leaves more than 256 bits to guess.
    assert secret.startswith(get_only_key().token_key)
    assert (len(secret) - len(get_only_key().token_key)) * 4 >= 192


def test_a_key_is_shown_when_it_is_made_and_never_again():
    secret = make_key()
    reloaded_key = get_only_key()

    assert secret not in {str(value) for value in vars(reloaded_key).values()}
    assert secret not in str(reloaded_key)
    assert secret not in repr(reloaded_key)


def test_two_keys_are_never_the_same():
    assert len({make_key() for _ in range(20)}) == 20


def test_a_key_opens_the_endpoint_until_it_is_revoked(api):
    secret = make_key()
    assert api(secret).get("/api/status").status_code == 200

    ApiKey.objects.update(revoked_at=timezone.now())

    assert api(secret).get("/api/status").status_code == 401
    assert ApiKey.objects.count() == 1, "a revoked key stays on record"


def test_a_key_opens_the_endpoint_until_it_expires(api):
    secret = make_key(expiry=timedelta(minutes=1))
    assert api(secret).get("/api/status").status_code == 200

    ApiKey.objects.update(expiry=timezone.now())

    assert api(secret).get("/api/status").status_code == 401
    assert ApiKey.objects.count() == 1, "an expired key stays on record"


def test_a_key_expires_unless_somebody_says_otherwise():
    make_key()
    expiry = get_only_key().expiry

    assert expiry is not None
    assert timedelta(days=364) < expiry - timezone.now() < timedelta(days=366)


def test_a_key_of_a_disabled_owner_opens_nothing(api):
    secret = make_key()
    User.objects.update(is_active=False)

    assert api(secret).get("/api/status").status_code == 401


def test_a_key_without_a_clearance_sees_public_memories_only(api):
    visible_memory = make_memory(tier="public")
    make_memory(tier="internal")
    secret = make_key(clearance=None)

    assert get_only_key().as_principal().clearance == Clearance()
    records = api(secret).get("/api/memories").json()["records"]
    assert [record["memory_id"] for record in records] == [str(visible_memory.memory_id)]


def test_a_clearance_lowered_now_holds_from_the_next_request_on(api):
    make_memory(tier="internal")
    record = make_clearance(name="falls", max_tier="internal")
    secret = make_key(clearance={"name": "falls"})
    assert len(api(secret).get("/api/memories").json()["records"]) == 1

    record.max_tier = "public"
    record.save()

    assert api(secret).get("/api/memories").json()["records"] == []


@pytest.mark.parametrize("scopes", [["write"], ["read", "write"]])
def test_a_key_that_writes_names_its_source(scopes):
    owner = User.objects.create(username="owner")
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.create(owner, name="nameless", scopes=scopes)

    ApiKey.objects.create(owner, name="named", scopes=scopes, source="crm")
    ApiKey.objects.create(owner, name="admin", scopes=[*scopes, "admin"])


def test_a_key_is_a_principal_with_what_the_key_holds():
    make_key(scopes="read write", source="crm", actor_type="system", clearance={"max_tier": "internal"})

    principal = get_only_key().as_principal()

    assert principal.name == f"key:{get_only_key().name}"
    assert principal.scopes == {Scope.READ, Scope.WRITE}
    assert principal.source == "crm"
    assert principal.actor_type == "system"
    assert principal.clearance == Clearance(max_tier="internal")


def test_a_key_without_a_source_writes_as_nobody():
    make_key()
    assert get_only_key().as_principal().source is None
