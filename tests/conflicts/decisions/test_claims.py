"""Claims of stewards on groups: one at a time, for some minutes, and nothing that tells of what is hidden."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.db import connection

from memoryhub.conflicts.decisions import claims
from memoryhub.conflicts.decisions.claims import CLAIM_MINUTES, ClaimedByOtherError
from memoryhub.conflicts.models import Claim
from memoryhub.firewall.principal import Principal
from memoryhub.firewall.principal_lookup import resolve_principal
from tests.factories import make_user, utc

KEY = ("user:ada", "city")
NOW = utc("2026-03-01 12:00")
CLAIM_DURATION = timedelta(minutes=CLAIM_MINUTES)


@pytest.fixture(autouse=True)
def _database_now() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def make_steward(
    name: str, *, max_tier: str = "restricted", scopes: str = "read curate", **clearance: Any
) -> Principal:
    return resolve_principal(make_user(name, scopes=scopes, max_tier=max_tier, **clearance))


@pytest.mark.django_db
class TestClaim:
    def test_belongs_to_one_steward_and_is_shown_to_the_other(self):
        ada, bob = make_steward("ada"), make_steward("bob")

        claim = claims.take_claim(KEY, principal=ada)

        assert (claim.principal, claim.expires_at) == ("user:ada", NOW + CLAIM_DURATION)
        with pytest.raises(ClaimedByOtherError) as exc_info:
            claims.take_claim(KEY, principal=bob)
        assert exc_info.value.holder == claim
        assert (
            claims.list_claims([KEY], principal=ada)
            == claims.list_claims([KEY], principal=bob)
            == claims.list_blocking_claims([KEY], principal=bob)
        )
        assert claims.list_blocking_claims([KEY], principal=ada) == {}

    def test_is_renewed_by_its_holder(self):
        ada = make_steward("ada")
        claims.take_claim(KEY, principal=ada)
        with time_machine.travel(NOW + timedelta(minutes=3), tick=False):
            renewed_claim = claims.take_claim(KEY, principal=ada)

        assert renewed_claim.expires_at == NOW + timedelta(minutes=3) + CLAIM_DURATION
        assert Claim.objects.count() == 1

    def test_ends_by_itself_and_is_taken_over(self):
        ada, bob = make_steward("ada"), make_steward("bob")
        claims.take_claim(KEY, principal=ada)

        with time_machine.travel(NOW + CLAIM_DURATION, tick=False):
            assert claims.list_claims([KEY], principal=bob) == {}
            assert claims.take_claim(KEY, principal=bob).principal == "user:bob"
            assert claims.list_blocking_claims([KEY], principal=ada).keys() == {KEY}
            assert Claim.objects.count() == 1

    def test_is_released_by_its_holder_alone(self):
        ada, bob = make_steward("ada"), make_steward("bob")
        claims.take_claim(KEY, principal=ada)

        claims.release_claims([KEY], principal=bob)
        assert claims.list_claims([KEY], principal=bob)
        claims.release_claims([KEY], principal=ada)

        assert claims.list_claims([KEY], principal=bob) == {}
        assert claims.take_claim(KEY, principal=bob).principal == "user:bob"

    def test_is_of_one_key_alone(self):
        ada, bob = make_steward("ada"), make_steward("bob")
        other_keys = [("user:ada", "job"), ("user:bob", "city"), (*KEY, ""), (*KEY, "team")]

        claims.take_claim(KEY, principal=ada)
        for key in other_keys:
            claims.take_claim(key, principal=bob)

        assert claims.list_blocking_claims([KEY, *other_keys], principal=ada).keys() == set(other_keys)
        assert claims.list_blocking_claims([KEY, *other_keys], principal=bob).keys() == {KEY}

    @pytest.mark.parametrize("scopes", ["read", "read write audit view_as declassify"])
    def test_takes_who_may_judge_memories(self, scopes):
        reader = make_steward("eve", scopes=scopes)

        with pytest.raises(PermissionDenied):
            claims.take_claim(KEY, principal=reader)
        with pytest.raises(PermissionDenied):
            claims.release_claims([KEY], principal=reader)
        assert not Claim.objects.exists()


@pytest.mark.django_db
class TestNarrowerClearance:
    @pytest.mark.parametrize(
        "narrower_clearance",
        [{"max_tier": "public"}, {"blocked_labels": ["pii"]}, {"all_namespaces": False, "namespaces": [""]}],
    )
    def test_is_neither_shown_the_claim_nor_blocked_by_it(self, narrower_clearance):
        """FW-12: else a claim would tell that somebody has more to look at."""
        high, low = make_steward("high"), make_steward("low", **narrower_clearance)
        claims.take_claim(KEY, principal=high)

        assert claims.list_claims([KEY], principal=low) == claims.list_blocking_claims([KEY], principal=low) == {}
        assert claims.take_claim(KEY, principal=low).expires_at == NOW + CLAIM_DURATION
        assert claims.list_blocking_claims([KEY], principal=high)[KEY].principal == "user:low"
        assert claims.list_claims([KEY], principal=high)[KEY].principal == "user:low", "what stops it, and not its own"
        with pytest.raises(ClaimedByOtherError):
            claims.take_claim(KEY, principal=high)

    def test_is_shown_the_claim_of_a_steward_with_a_narrower_clearance(self):
        low, lowest = make_steward("low", max_tier="internal"), make_steward("lower", max_tier="public")
        claims.take_claim(KEY, principal=lowest)

        assert claims.list_claims([KEY], principal=low).keys() == {KEY}

    def test_leaves_the_claim_of_an_incomparable_steward_in_force(self):
        without_pii, without_hr = (
            make_steward("left", blocked_labels=["pii"]),
            make_steward("right", blocked_labels=["hr"]),
        )
        wider, same_width = make_steward("above"), make_steward("equal", blocked_labels=["pii"])
        first = claims.take_claim(KEY, principal=without_pii)

        with time_machine.travel(NOW + timedelta(minutes=1), tick=False):
            second = claims.take_claim(KEY, principal=without_hr)

            assert claims.list_claims([KEY], principal=without_pii)[KEY] == first
            assert claims.list_claims([KEY], principal=without_hr)[KEY] == second
            assert (
                claims.list_blocking_claims([KEY], principal=without_pii)
                == claims.list_blocking_claims([KEY], principal=without_hr)
                == {}
            )
            with pytest.raises(ClaimedByOtherError) as exc_info:
                claims.take_claim(KEY, principal=same_width)
            assert exc_info.value.holder == first
            assert claims.list_blocking_claims([KEY], principal=wider)[KEY] == second
            claims.release_claims([KEY], principal=without_hr)
            assert claims.list_blocking_claims([KEY], principal=wider)[KEY] == first

    def test_leaves_the_claim_of_who_sees_more_in_force_for_their_equals(self):
        high, peer, low = make_steward("high"), make_steward("peer"), make_steward("low", max_tier="public")
        claims.take_claim(KEY, principal=high)
        claims.take_claim(KEY, principal=low)
        claims.release_claims([KEY], principal=low)

        assert claims.list_blocking_claims([KEY], principal=peer)[KEY].principal == "user:high"
        assert claims.list_claims([KEY], principal=low) == {}

    def test_is_not_held_up_by_who_is_not_on_record_any_more(self):
        claims.take_claim(KEY, principal=Principal(name="key:gone", scopes=make_steward("x").scopes))

        assert claims.take_claim(KEY, principal=make_steward("ada")).principal == "user:ada"


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_the_same_moment_one_gets_it():
    stewards = [make_steward(f"steward-{index}") for index in range(8)]
    ready = threading.Barrier(len(stewards))
    winners: list[str] = []
    losers: list[str] = []

    def try_claim(principal: Principal) -> None:
        ready.wait()
        try:
            winners.append(claims.take_claim(KEY, principal=principal).principal)
        except ClaimedByOtherError as error:
            losers.append(error.holder.principal)
        finally:
            connection.close()

    threads = [threading.Thread(target=try_claim, args=(steward_,)) for steward_ in stewards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(winners) == 1
    assert losers == winners * (len(stewards) - 1)


@pytest.mark.django_db
def test_the_claims_of_a_page_take_as_many_queries_as_one(django_assert_num_queries):
    ada, bob = make_steward("ada"), make_steward("bob")
    keys = [(f"user:{index}", "city") for index in range(30)]
    for key in keys:
        claims.take_claim(key, principal=ada)

    for requested_keys in (keys[:1], keys):
        with django_assert_num_queries(2):
            assert len(claims.list_claims(requested_keys, principal=bob)) == len(requested_keys)
