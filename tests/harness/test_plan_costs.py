"""No filter's plan touches rows of a hidden tier: every route that takes filters, asked with every value of each.

What a question touches is counted twice, before there are hidden rows and after (plan_costs/touched.py). Where it is
more, the plans tell whether rows of hidden tiers were passed (plan_costs/plans.py), or whether the caller's own rows
were read another way, because PostgreSQL's statistics speak of all rows: that is a matter of speed.

A route or a filter that is not in plan_costs fails a test.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import get_resolver

from memoryhub.config import APPLICATION
from memoryhub.memories.filters import MemoryFilterSet, MomentFilterSet
from memoryhub.ops import roles
from tests.builders import make_key, make_user
from tests.harness.databases import World, migrated, no_leaks, world
from tests.harness.generated import SOAK
from tests.harness.plan_costs import rows
from tests.harness.plan_costs.plans import rows_of_any_tier
from tests.harness.plan_costs.routes import NOW, PLAIN, ROUTES, WITHOUT_FILTERS, Asker, Params, Route
from tests.harness.plan_costs.touched import Touched, counted
from tests.harness.plan_costs.values import KINDS, pairs, singles, values_of
from tests.harness.test_two_worlds import routes

pytestmark = pytest.mark.soak

VISIBLE, HIDDEN = (50_000, 950_000) if SOAK else (1_000, 19_000)
THREE = KINDS[:3]
HALF = 10_000
EACH_TWO = [(one, other) for one in KINDS for other in KINDS] if SOAK else [("common", "hidden")]
NOT_INDEXED = ("model", "role", "actor_id", "destination", "source", "payload_id", "status", "kind")
IN_A_HURRY = ("api:memories", "api:labels")


@dataclass(frozen=True, slots=True)
class Question:
    route: Route
    params: Params

    def __str__(self) -> str:
        return f"{self.route} with {dict(self.params)}"


def questions() -> Iterator[Question]:
    """Every filter alone at every route; every third pair of filters at the list, in soak every pair everywhere."""
    for route in ROUTES:
        values = values_of(route.filter_set, VISIBLE)
        # Pages and commands ask what the API asks: a value that no row has is enough there, and one moment. At the
        # other moments of the API, too: such a value has to be looked for to the end.
        is_api = SOAK or route.name.startswith("api:")
        for moment in route.moments if is_api else route.moments[:1]:
            is_first = SOAK or (is_api and moment == route.moments[0])
            kinds = ("absent",) if not is_first else KINDS if SOAK or route in PLAIN else THREE
            asked = [{}, *singles(values, kinds)]
            if SOAK or (route in PLAIN and moment == NOW):
                asked += list(pairs(values, EACH_TWO))[:: 1 if SOAK else 3]
            yield from (Question(route, {**params, **moment}) for params in asked)


class Costs:
    """A hub with a caller who sees the most open tier only, and what each question has touched there."""

    def __init__(self, place: World) -> None:
        self._place = place
        self._asker = _asker()

    def beyond(self, asked: Sequence[Question], *, visible: int = VISIBLE, hidden: int = HIDDEN) -> dict[str, str]:
        """The questions that pass rows of hidden tiers, with the indexes that they go through."""
        rows.plant_visible(self._place.name, visible)
        without = [self.touched(question) for question in asked]
        rows.plant_hidden(self._place.name, hidden, visible=visible)
        found: dict[str, str] = {}
        for question, before in zip(asked, without, strict=True):
            assert before.total.scans > 0, "a question that touches nothing proves nothing"
            if self.touched(question).exceeds(before) and (passed := self._passed(question, before)):
                found[str(question)] = passed
        return found

    def touched(self, question: Question) -> Touched:
        with _rolled_back(), counted() as touched:
            question.route.ask(self._asker, question.params)
        return touched

    def _passed(self, question: Question, before: Touched) -> str:
        with _rolled_back():
            passed = rows_of_any_tier(lambda: question.route.ask(self._asker, question.params))
        more = {name: number for name, number in passed.items() if number > before.rows_of(name) * 1.02 + 10}
        return ", ".join(f"{number:,} rows by {name}" for name, number in more.items())


@contextmanager
def _rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _asker() -> Asker:
    key = make_key(scopes="read view_as", clearance={"name": "public", "max_tier": "public"})
    user = make_user("low", scopes="read inspect view_as", name="public", max_tier="public")
    person = Client()
    person.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return Asker(key=Client(headers={"Authorization": f"Bearer {key}"}), person=person)


@pytest.fixture
def costs(django_db_blocker) -> Iterator[Costs]:
    with django_db_blocker.unblock(), world(migrated(), as_application=True) as place, place.entered():
        with roles.as_owner():
            roles.grant(APPLICATION)
        no_leaks()
        yield Costs(place)


def test_no_filter_touches_rows_of_a_hidden_tier(costs):
    assert costs.beyond(list(questions())) == {}


def test_a_caller_who_sees_half_of_the_rows_goes_through_no_index_of_all_tiers(costs):
    """To such a one an index of all tiers looks like a short way: before it was out of reach, all of these took it."""
    values = values_of(MemoryFilterSet, HALF)
    params = list(singles({name: values[name] for name in NOT_INDEXED}, KINDS[::2]))
    asked = [Question(route, each) for route in ROUTES if route.name in IN_A_HURRY for each in params]

    assert costs.beyond(asked, visible=HALF, hidden=HALF) == {}


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def test_every_filter_has_its_values():
    for filter_set in _subclasses(MomentFilterSet):
        values_of(filter_set, VISIBLE)


def test_every_filter_set_is_asked_somewhere():
    assert set(_subclasses(MomentFilterSet)) <= {route.filter_set for route in ROUTES}


def test_every_route_is_asked_or_takes_no_filters():
    known = {route.name for route in ROUTES} | WITHOUT_FILTERS.keys()
    found = {name for name in routes(get_resolver()) if name.partition(":")[0] in ("api", "inspector")}

    assert found - known == set()
