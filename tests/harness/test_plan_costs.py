"""No filter's plan touches rows of a hidden tier: every route that takes filters, asked with every value of each.

The rows and pages that a query touches are counted twice, without hidden rows and with them (access_counts.py). If the
second count is larger, its plans show whether rows of hidden tiers were passed (query_plans.py), or whether the
caller's own rows were read another way, because PostgreSQL's statistics describe all rows: that is a matter of speed.

A route or a filter that is not in plan_costs fails a test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver

from memoryhub.config import APP_ROLE
from memoryhub.memories.filters import MemoryFilterSet, PointInTimeFilterSet
from memoryhub.operations import database_roles
from tests.factories import make_key, make_user
from tests.harness.databases import DatabaseHandle, mark_leakproof_functions, migrated_database_name, temporary_database
from tests.harness.plan_costs import rows
from tests.harness.plan_costs.access_counts import TouchedRelations, count_touched
from tests.harness.plan_costs.filter_values import KINDS, Values, filter_pairs, filter_values, single_filters
from tests.harness.plan_costs.query_plans import rows_of_any_tier
from tests.harness.plan_costs.routes import (
    NOW_PARAMS,
    PLAIN_ROUTES,
    ROUTES,
    WITHOUT_FILTERS,
    Params,
    RequestClients,
    Route,
)
from tests.harness.strategies import SOAK, roll_back
from tests.memories.raw_rows import execute
from tests.noninterference.test_reads import route_names

pytestmark = pytest.mark.soak

VISIBLE, HIDDEN = (50_000, 950_000) if SOAK else (1_000, 9_000)
HALF_ROWS = 10_000 if SOAK else 4_000
KIND_PAIRS = (
    [(first_kind, second_kind) for first_kind in KINDS for second_kind in KINDS] if SOAK else [("common", "hidden")]
)
PAIR_INTERVAL = 1 if SOAK else 4
UNINDEXED_FILTERS = ("model", "role", "actor_id", "destination", "source", "payload_id", "status", "kind")
SMOKE_ROUTES = ("api:memory-list", "api:memories-classify")


@dataclass(frozen=True, slots=True)
class RouteQuery:
    route: Route
    params: Params

    def __str__(self) -> str:
        return f"{self.route} with {dict(self.params)}"


def route_queries() -> Iterator[RouteQuery]:
    """Every filter alone at every route of the API; every fourth pair of filters at the list. In soak every value.

    The list is asked with every value of a filter, the other routes of the API, which build their querysets as the list
    does, with one: in turn, so that each kind of value is asked at each route, and of each filter at several. At other
    points in time the search for a value that no row has reads to the end.
    """
    for route_index, route in enumerate(ROUTES):
        values = filter_values(route.filter_set, VISIBLE)
        for point_index, point_in_time in enumerate(route.points_in_time):
            if SOAK or (route in PLAIN_ROUTES and point_index == 0):
                filters = list(single_filters(values, KINDS))
            elif point_index == 0:
                filters = list(filters_in_turn(values, route_index))
            else:
                filters = list(single_filters(values, ("absent",)))
            # All pairs at all routes would take days in soak.
            if route in PLAIN_ROUTES and (SOAK or point_in_time == NOW_PARAMS):
                filters += list(filter_pairs(values, KIND_PAIRS))[::PAIR_INTERVAL]
            if not SOAK and not route.name.startswith("api:") and route.name != "command export_memories":
                # Pages and commands run the queries of the API: a third of the filters, at one point in time. An export
                # has a query of its own, which reads all rows.
                filters = filters[route_index % 3 :: 3] if point_index == 0 else []
            yield from (RouteQuery(route, {**params, **point_in_time}) for params in [{}, *filters])


def filters_in_turn(values: Mapping[str, Values], turn: int) -> Iterator[dict[str, str]]:
    """Each filter alone, with a value of one kind: of the next kind for the next filter, and for the next turn."""
    for index, (name, filter_kinds) in enumerate(values.items()):
        yield from single_filters({name: filter_kinds}, [KINDS[(turn + index) % len(KINDS)]])


class CostMeter:
    """A hub with a caller who sees the most open tier only, and what each question has touched there."""

    def __init__(self, database: DatabaseHandle) -> None:
        self._database = database
        self._clients = _make_clients()

    def find_hidden_costs(
        self, queries: Sequence[RouteQuery], *, visible: int = VISIBLE, hidden: int = HIDDEN
    ) -> dict[str, str]:
        """The questions that pass rows of hidden tiers, with the indexes that they go through."""
        rows.insert_visible(self._database.name, visible)
        baseline = [self.measure(query) for query in queries]
        rows.insert_hidden(self._database.name, hidden, visible=visible)
        costs_by_query: dict[str, str] = {}
        for query, before in zip(queries, baseline, strict=True):
            assert before.total.scans > 0, "a question that touches nothing proves nothing"
            if self.measure(query).exceeds(before) and (passed_rows := self._describe_passed_rows(query, before)):
                costs_by_query[str(query)] = passed_rows
        return costs_by_query

    def measure(self, query: RouteQuery) -> TouchedRelations:
        with roll_back(), count_touched() as touched:
            query.route.send(self._clients, query.params)
        return touched

    def _describe_passed_rows(self, query: RouteQuery, before: TouchedRelations) -> str:
        with roll_back():
            rows_by_index = rows_of_any_tier(lambda: query.route.send(self._clients, query.params))
        excess_rows = {name: count for name, count in rows_by_index.items() if count > before.rows_of(name) * 1.02 + 10}
        return ", ".join(f"{count:,} rows by {name}" for name, count in excess_rows.items())


def _make_clients() -> RequestClients:
    key = make_key(scopes="read view_as", clearance={"name": "public", "max_tier": "public"})
    user = make_user("low", scopes="read curate view_as", name="public", max_tier="public")
    user_client = Client()
    user_client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return RequestClients(key_client=Client(headers={"Authorization": f"Bearer {key}"}), user_client=user_client)


@pytest.fixture
def costs(django_db_blocker, settings) -> Iterator[CostMeter]:
    # The rows that are read are counted here, however long that takes on this machine.
    settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"statement_timeout_seconds": 600.0})
    with (
        django_db_blocker.unblock(),
        temporary_database(migrated_database_name(), as_application=True) as database,
        database.activate(),
    ):
        with database_roles.connect_as_owner():
            database_roles.grant_app_privileges(APP_ROLE)
        mark_leakproof_functions()
        execute("SET statement_timeout = 0")
        yield CostMeter(database)


def test_no_filter_touches_rows_of_a_hidden_tier(costs):
    assert costs.find_hidden_costs(list(route_queries())) == {}


def test_a_caller_who_sees_half_of_the_rows_goes_through_no_index_of_all_tiers(costs):
    """To such a one an index of all tiers looks like a short way: before it was out of reach, all of these took it."""
    values = filter_values(MemoryFilterSet, HALF_ROWS)
    params = list(single_filters({name: values[name] for name in UNINDEXED_FILTERS}, KINDS[::2]))
    queries = [
        RouteQuery(route, route_params) for route in ROUTES if route.name in SMOKE_ROUTES for route_params in params
    ]

    assert costs.find_hidden_costs(queries, visible=HALF_ROWS, hidden=HALF_ROWS) == {}


def _iter_subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _iter_subclasses(subclass)


def test_every_filter_has_its_values():
    for filter_set in _iter_subclasses(PointInTimeFilterSet):
        filter_values(filter_set, VISIBLE)


def test_every_filter_set_is_asked_somewhere():
    assert set(_iter_subclasses(PointInTimeFilterSet)) <= {route.filter_set for route in ROUTES}


def test_every_route_is_asked_or_takes_no_filters():
    covered_routes = {route.name for route in ROUTES} | WITHOUT_FILTERS.keys()
    url_names = {name for name in route_names(get_resolver()) if name.partition(":")[0] in ("api", "inspector")}

    assert url_names - covered_routes == set()
