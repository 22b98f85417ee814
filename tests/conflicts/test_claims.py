"""Claims of stewards on groups: one at a time, for some minutes, and nothing that tells of what is hidden."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.db import connection

from memoryhub.conflicts import claims
from memoryhub.conflicts.claims import CLAIM_MINUTES, Taken
from memoryhub.conflicts.models import Claim
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal
from tests.builders import at, make_user

KEY = ("user:ada", "city")
NOW = at("2026-03-01 12:00")
MINUTES = timedelta(minutes=CLAIM_MINUTES)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def steward(name: str, *, max_tier: str = "restricted", scopes: str = "read inspect", **clearance: Any) -> Principal:
    return principal_of(make_user(name, scopes=scopes, max_tier=max_tier, **clearance))


@pytest.mark.django_db
class TestAClaim:
    def test_is_held_by_one_and_told_to_the_other(self):
        ada, bob = steward("ada"), steward("bob")

        mine = claims.claim(KEY, by=ada)

        assert (mine.principal, mine.until) == ("user:ada", NOW + MINUTES)
        with pytest.raises(Taken) as taken:
            claims.claim(KEY, by=bob)
        assert taken.value.held == mine
        assert claims.held([KEY], by=ada) == claims.held([KEY], by=bob) == claims.in_the_way([KEY], by=bob)
        assert claims.in_the_way([KEY], by=ada) == {}

    def test_is_renewed_by_its_holder(self):
        ada = steward("ada")
        claims.claim(KEY, by=ada)
        with time_machine.travel(NOW + timedelta(minutes=3), tick=False):
            again = claims.claim(KEY, by=ada)

        assert again.until == NOW + timedelta(minutes=3) + MINUTES
        assert Claim.objects.count() == 1

    def test_ends_by_itself_and_is_taken_over(self):
        ada, bob = steward("ada"), steward("bob")
        claims.claim(KEY, by=ada)

        with time_machine.travel(NOW + MINUTES, tick=False):
            assert claims.held([KEY], by=bob) == {}
            assert claims.claim(KEY, by=bob).principal == "user:bob"
            assert claims.in_the_way([KEY], by=ada).keys() == {KEY}
            assert Claim.objects.count() == 1

    def test_is_released_by_its_holder_alone(self):
        ada, bob = steward("ada"), steward("bob")
        claims.claim(KEY, by=ada)

        claims.release([KEY], by=bob)
        assert claims.held([KEY], by=bob)
        claims.release([KEY], by=ada)

        assert claims.held([KEY], by=bob) == {}
        assert claims.claim(KEY, by=bob).principal == "user:bob"

    def test_is_of_one_key_alone(self):
        ada, bob = steward("ada"), steward("bob")
        others = [("user:ada", "job"), ("user:bob", "city"), (*KEY, ""), (*KEY, "team")]

        claims.claim(KEY, by=ada)
        for key in others:
            claims.claim(key, by=bob)

        assert claims.in_the_way([KEY, *others], by=ada).keys() == set(others)
        assert claims.in_the_way([KEY, *others], by=bob).keys() == {KEY}

    @pytest.mark.parametrize("scopes", ["read", "read write audit view_as declassify"])
    def test_takes_who_may_judge_memories(self, scopes):
        reader = steward("eve", scopes=scopes)

        with pytest.raises(PermissionDenied):
            claims.claim(KEY, by=reader)
        with pytest.raises(PermissionDenied):
            claims.release([KEY], by=reader)
        assert not Claim.objects.exists()


@pytest.mark.django_db
class TestWhoSeesLess:
    @pytest.mark.parametrize(
        "less", [{"max_tier": "public"}, {"blocked_labels": ["pii"]}, {"every_namespace": False, "namespaces": [""]}]
    )
    def test_is_not_told_and_not_held_up(self, less):
        """FW-12: else a claim would tell that somebody has more to look at."""
        high, low = steward("high"), steward("low", **less)
        claims.claim(KEY, by=high)

        assert claims.held([KEY], by=low) == claims.in_the_way([KEY], by=low) == {}
        assert claims.claim(KEY, by=low).until == NOW + MINUTES
        assert claims.in_the_way([KEY], by=high)[KEY].principal == "user:low"
        assert claims.held([KEY], by=high)[KEY].principal == "user:low", "what stops it, and not its own"
        with pytest.raises(Taken):
            claims.claim(KEY, by=high)

    def test_is_told_of_who_sees_less_still(self):
        low, lower = steward("low", max_tier="internal"), steward("lower", max_tier="public")
        claims.claim(KEY, by=lower)

        assert claims.held([KEY], by=low).keys() == {KEY}

    def test_leaves_the_claim_of_an_incomparable_steward_in_force(self):
        left, right = steward("left", blocked_labels=["pii"]), steward("right", blocked_labels=["hr"])
        above, equal = steward("above"), steward("equal", blocked_labels=["pii"])
        first = claims.claim(KEY, by=left)

        with time_machine.travel(NOW + timedelta(minutes=1), tick=False):
            second = claims.claim(KEY, by=right)

            assert claims.held([KEY], by=left)[KEY] == first
            assert claims.held([KEY], by=right)[KEY] == second
            assert claims.in_the_way([KEY], by=left) == claims.in_the_way([KEY], by=right) == {}
            with pytest.raises(Taken) as taken:
                claims.claim(KEY, by=equal)
            assert taken.value.held == first
            assert claims.in_the_way([KEY], by=above)[KEY] == second
            claims.release([KEY], by=right)
            assert claims.in_the_way([KEY], by=above)[KEY] == first

    def test_leaves_the_claim_of_who_sees_more_in_force_for_their_equals(self):
        high, peer, low = steward("high"), steward("peer"), steward("low", max_tier="public")
        claims.claim(KEY, by=high)
        claims.claim(KEY, by=low)
        claims.release([KEY], by=low)

        assert claims.in_the_way([KEY], by=peer)[KEY].principal == "user:high"
        assert claims.held([KEY], by=low) == {}

    def test_is_not_held_up_by_who_is_not_on_record_any_more(self):
        claims.claim(KEY, by=Principal(name="key:gone", scopes=steward("x").scopes))

        assert claims.claim(KEY, by=steward("ada")).principal == "user:ada"


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_the_same_moment_one_gets_it():
    everybody = [steward(f"steward-{number}") for number in range(8)]
    ready = threading.Barrier(len(everybody))
    got: list[str] = []
    refused: list[str] = []

    def take(by: Principal) -> None:
        ready.wait()
        try:
            got.append(claims.claim(KEY, by=by).principal)
        except Taken as taken:
            refused.append(taken.held.principal)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=(by,)) for by in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1
    assert refused == got * (len(everybody) - 1)


@pytest.mark.django_db
def test_the_claims_of_a_page_take_as_many_queries_as_one(django_assert_num_queries):
    ada, bob = steward("ada"), steward("bob")
    keys = [(f"user:{number}", "city") for number in range(30)]
    for key in keys:
        claims.claim(key, by=ada)

    for asked in (keys[:1], keys):
        with django_assert_num_queries(2):
            assert len(claims.held(asked, by=bob)) == len(asked)
