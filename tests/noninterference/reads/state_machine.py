"""The state machine: low steps are taken in both worlds, high steps in one, and low must not notice."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from memoryhub.access_log import read_log
from memoryhub.conflicts.decisions import claims, resolve
from memoryhub.conflicts.groups.group_keys import GroupKey, encode_id
from memoryhub.firewall import keys
from memoryhub.firewall.models import ApiKey, ClearanceProfile
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.memories.writes.identity import OnConflict
from tests.factories import index_all, store_drafts
from tests.harness.databases import as_unrestricted_reader
from tests.harness.strategies import prepare_memory
from tests.memories.raw_rows import execute
from tests.noninterference.reads.endpoints import ENDPOINTS, Endpoint, EndpointInputs, next_page_path
from tests.noninterference.reads.rows import (
    ADA_JOB,
    BOB_CITY,
    DISPUTED_HIDDEN_ROWS,
    DISPUTED_ROWS,
    KEYS,
    OUTCOMES,
    Fields,
    envelope_strategy,
    hidden_row_strategy,
    query_strategy,
    resolution_body,
    resolve_as_high,
    visible_row_strategy,
)
from tests.noninterference.worlds import HIGH, LOW, PairedWorlds, RecordedResponse, WorldSession

# What may become of a hidden memory so that it stays hidden.
HIDDEN_CHANGES: tuple[Fields, ...] = (
    {"classification_tier": "restricted"},
    {"classification_tier": "confidential", "add_labels": ["hr"]},
    {"classification_tier": "public", "add_labels": ["pii"]},
    {"status": "quarantined"},
    {"status": "active", "add_labels": ["hidden-label"]},
)
HIGH_READ_PATHS = (
    "/api/memories/{}",
    "/api/memories/{}/versions",
    "/api/memories?limit=50&q=canary",
    "/api/facets",
    "/api/memories?cursor=forged",
)


def _classify_memory(memory_id: uuid.UUID, change: Fields) -> None:
    plan = classify.plan_for_memory(memory_id, parse_body(change, ClassificationChange), principal=HIGH)
    classify.apply_plan(plan, reason="Looked at.")


def _execute_unrestricted(statement: str) -> None:
    with as_unrestricted_reader():
        execute(statement)


def _run_failing_query() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        execute("SELECT 1 / (SELECT 0 FROM memories LIMIT 1), no_such_column FROM memories")


def _low_user() -> User:
    return User.objects.get(username="low")


# What goes on in a hub besides: none of it may shine through.
UNRELATED_ACTIONS: dict[str, Callable[[], Any]] = {
    "reads go into the audit log": read_log.flush_reads,
    "indexes are made anew": partial(_execute_unrestricted, "REINDEX TABLE memories"),
    "the planner learns": partial(
        _execute_unrestricted, "ANALYZE memories; ANALYZE memory_rollups; ANALYZE memory_total_rollups"
    ),
    "a statement fails": _run_failing_query,
    "a key is made": lambda: ApiKey.objects.create(
        User.objects.get(username="low"), name=f"{uuid.uuid4()}", scopes=["read"]
    ),
    "a key is rotated": lambda: keys.rotate_key(ApiKey.objects.get(name="high"), principal=HIGH),
    "a clearance is made": lambda: ClearanceProfile.objects.create(name=f"{uuid.uuid4()}", max_tier="confidential"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenResponse:
    """A question of the low caller, what leads on from its answer, and under which tag it is kept."""

    endpoint: Endpoint
    path: str
    next_path: str | None
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleStatistics:
    """What there was in one example: hidden memories, decisions in both worlds, and on what is hidden."""

    hidden_count: int
    decided_count: int
    decided_above: int


class NoninterferenceMachine(RuleBasedStateMachine):
    """Low steps are taken in both worlds, and their answers are the same; high steps are taken in one."""

    known_responses = Bundle("known")
    sent_envelopes = Bundle("sent")

    def __init__(self, worlds: PairedWorlds, *, row_security: bool, statistics: list["ExampleStatistics"]) -> None:
        super().__init__()
        self.worlds = worlds
        self.statistics = statistics
        self.step_number = 0
        self.visible_ids: list[uuid.UUID] = []
        self.hidden_ids: list[uuid.UUID] = []
        self.decision_ids: list[uuid.UUID] = []
        self.decision_ids_above: list[uuid.UUID] = []
        self.session_without = WorldSession(worlds.world_without, row_security=row_security)
        self.session_with_hidden = WorldSession(worlds.world_with_hidden, row_security=row_security)

    def teardown(self) -> None:
        self.statistics.append(
            ExampleStatistics(
                hidden_count=len(self.hidden_ids),
                decided_count=len(self.decision_ids),
                decided_above=len(self.decision_ids_above),
            )
        )
        self.session_with_hidden.end()
        self.session_without.end()

    @initialize(
        visible_rows=st.lists(visible_row_strategy(), max_size=4),
        hidden_row_list=st.lists(hidden_row_strategy(), max_size=6),
    )
    def store_initial_rows(self, visible_rows: list[Fields], hidden_row_list: list[Fields]) -> None:
        self.write_as_others([*visible_rows, *DISPUTED_ROWS])
        self.store_hidden_rows([*hidden_row_list, *DISPUTED_HIDDEN_ROWS])

    @rule(rows=st.lists(visible_row_strategy(), min_size=1, max_size=2))
    def write_as_others(self, rows: list[Fields]) -> None:
        self.step_number += 1
        for session in (self.session_with_hidden, self.session_without):
            with session.step(self.step_number):
                new_ids = _store_rows(rows)
        self._add_new_ids(self.visible_ids, new_ids)

    @rule(rows=st.lists(hidden_row_strategy(), min_size=1, max_size=3))
    def store_hidden_rows(self, rows: list[Fields]) -> None:
        with self._high_step():
            self._add_new_ids(self.hidden_ids, _store_rows(rows))

    @precondition(lambda self: self.hidden_ids)
    @rule(index=st.integers(0, 5), change=st.sampled_from(HIDDEN_CHANGES))
    def reclassify_hidden(self, index: int, change: Fields) -> None:
        with self._high_step():
            _classify_memory(_pick_newest(self.hidden_ids, index), change)

    @precondition(lambda self: self.visible_ids)
    @rule(index=st.integers(0, 5))
    def hide_from_low(self, index: int) -> None:
        """In both worlds: from now on each has a hidden memory that low has seen."""
        self.step_number += 1
        memory_id = _pick_newest(self.visible_ids, index)
        for session in (self.session_with_hidden, self.session_without):
            with session.step(self.step_number):
                _classify_memory(memory_id, {"classification_tier": "restricted"})

    @rule()
    def run_worker(self) -> None:
        """In both worlds: the indexes of words and of vectors have all that was written until now."""
        self.step_number += 1
        for session in (self.session_with_hidden, self.session_without):
            with session.step(self.step_number):
                index_all()

    @precondition(lambda self: self.hidden_ids)
    @rule(path=st.sampled_from(HIGH_READ_PATHS), index=st.integers(0, 5))
    def read_as_high(self, path: str, index: int) -> None:
        with self._high_step():
            assert self.worlds.high.get(path.format(_pick_newest(self.hidden_ids, index))).status < 500

    @rule(action=st.sampled_from(sorted(UNRELATED_ACTIONS)))
    def run_unrelated_action(self, action: str) -> None:
        with self._high_step():
            UNRELATED_ACTIONS[action]()

    @rule(target=known_responses, query=query_strategy(), index=st.integers(0, 5), offset=st.integers(0, 2))
    def send_requests(self, query: str, index: int, offset: int) -> MultipleResults[SeenResponse]:
        """At every third endpoint: one by one, hypothesis would ask some again and again, and at others never."""
        visible, hidden = (
            [_pick_newest(id_list, index)] if id_list else [] for id_list in (self.visible_ids, self.hidden_ids)
        )
        decisions = [
            _pick_newest(id_list, index) for id_list in (self.decision_ids, self.decision_ids_above) if id_list
        ]
        inputs = EndpointInputs(query=query, visible_ids=visible, hidden_ids=hidden, decisions=decisions)
        return multiple(
            *(
                self._request_endpoint(endpoint, path)
                for endpoint in ENDPOINTS[offset::3]
                for path in endpoint.paths(inputs)
            )
        )

    @rule(target=known_responses, earlier_response=known_responses)
    def read_next_page(self, earlier_response: SeenResponse) -> SeenResponse:
        return self._request_endpoint(earlier_response.endpoint, earlier_response.next_path or earlier_response.path)

    @rule(earlier_response=known_responses)
    def send_conditional_request(self, earlier_response: SeenResponse) -> None:
        self._request_endpoint(
            earlier_response.endpoint, earlier_response.path, {"If-None-Match": earlier_response.etag}
        )

    @rule(
        target=sent_envelopes,
        envelope=st.one_of(envelope_strategy(), sent_envelopes),
        query=st.sampled_from(("", "?on_conflict=update")),
    )
    def write_as_low(self, envelope: Fields, query: str) -> Fields:
        response = self._request_in_both("key", f"/api/memories{query}", envelope)
        if response.status == 201:
            self.visible_ids.append(uuid.UUID(json.loads(response.body)["memory_id"]))
        return envelope

    # Mostly where there is something to decide on from the beginning.
    @rule(key=st.sampled_from((BOB_CITY,) * 6 + KEYS), outcome=st.sampled_from(OUTCOMES), index=st.integers(0, 3))
    def resolve_as_low(self, key: GroupKey, outcome: str, index: int) -> None:
        """A low steward, on what is seen below."""
        path = f"/api/conflicts/{encode_id(*key)}"
        group_response = self._request_in_both("person", path)
        group_json = json.loads(group_response.body)
        members = [memory["memory_id"] for memory in group_json.get("memories", [])]
        choice = resolution_body(outcome, members, index) | {"evidence": group_json.get("evidence", "0" * 64)}
        response = self._request_in_both("person", f"{path}/decisions", choice)
        if response.status == 201:
            self.decision_ids.append(uuid.UUID(json.loads(response.body)["id"]))

    @rule(key=st.sampled_from((ADA_JOB,) * 6 + KEYS), outcome=st.sampled_from(OUTCOMES), index=st.integers(0, 3))
    def resolve_as_high(self, key: GroupKey, outcome: str, index: int) -> None:
        """A high steward: in both worlds, if there is nothing in it that low does not see."""
        self.step_number += 1
        with self.session_with_hidden.step(self.step_number):
            is_hidden = not all(map(LOW.permits, resolve.list_members(key, HIGH)))
            decision_id = resolve_as_high(key, outcome, index)
        known_decisions = self.decision_ids_above
        if not is_hidden:
            known_decisions = self.decision_ids
            with self.session_without.step(self.step_number):
                assert resolve_as_high(key, outcome, index) == decision_id
        known_decisions += [decision_id] if decision_id else []

    @precondition(lambda self: self.decision_ids or self.decision_ids_above)
    @rule(index=st.integers(0, 3), is_above=st.booleans())
    def undo_as_low(self, index: int, is_above: bool) -> None:
        chosen_id = _pick_newest(
            self.decision_ids_above
            if is_above and self.decision_ids_above
            else self.decision_ids or self.decision_ids_above,
            index,
        )
        self._request_in_both("person", f"/api/decisions/{chosen_id}/undo", {"reason": "It was wrong."})

    @precondition(lambda self: self.decision_ids or self.decision_ids_above)
    @rule(index=st.integers(0, 3), is_above=st.booleans())
    def undo_as_high(self, index: int, is_above: bool) -> None:
        """By who sees all: in both worlds, if the decision was made in both."""
        known_decisions = (
            self.decision_ids_above
            if is_above and self.decision_ids_above
            else self.decision_ids or self.decision_ids_above
        )
        self.step_number += 1
        for session in (
            (self.session_with_hidden,)
            if known_decisions is self.decision_ids_above
            else (self.session_with_hidden, self.session_without)
        ):
            with session.step(self.step_number):
                resolve.undo_decisions([_pick_newest(known_decisions, index)], principal=HIGH, reason="It was wrong.")

    @rule(key=st.sampled_from(KEYS), release=st.booleans())
    def claim_as_low(self, key: GroupKey, release: bool) -> None:
        self._request_in_both("person", f"/api/conflicts/{encode_id(*key)}/claim", {"release": release})

    @rule(key=st.sampled_from(KEYS))
    def claim_as_high(self, key: GroupKey) -> None:
        with self._high_step(), suppress(claims.ClaimedByOtherError):
            claims.take_claim(key, principal=HIGH)

    @contextmanager
    def _high_step(self) -> Iterator[None]:
        self.step_number += 1
        with self.session_with_hidden.step(self.step_number):
            yield

    def _request_endpoint(
        self, endpoint: Endpoint, path: str, headers: Mapping[str, str] | None = None
    ) -> SeenResponse:
        response = self._request_in_both(endpoint.caller, path, endpoint.post, headers)
        tag = dict(response.headers).get("ETag", "")
        return SeenResponse(endpoint=endpoint, path=path, next_path=next_page_path(path, response), etag=tag)

    def _request_in_both(
        self, caller: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> RecordedResponse:
        """What both worlds answer."""
        self.step_number += 1
        world_responses: list[RecordedResponse] = []
        for session in (self.session_with_hidden, self.session_without):
            with session.step(self.step_number):
                world_responses.append(getattr(self.worlds, caller).request(path, body, headers=headers))
        response_with_hidden, response_without = world_responses
        assert response_with_hidden == response_without, path
        assert response_without.status < 500, path
        return response_without

    def _add_new_ids(self, known_ids: list[uuid.UUID], new_ids: list[uuid.UUID]) -> None:
        known_ids += [memory_id for memory_id in new_ids if memory_id not in known_ids]


def _pick_newest(choices: list[Any], index: int) -> Any:
    """The newest first."""
    return choices[-1 - index % len(choices)]


def _store_rows(rows: list[Fields]) -> list[uuid.UUID]:
    receipts = store_drafts([prepare_memory(**row) for row in rows], on_conflict=OnConflict.REPLACE)
    return [receipt.memory_id for receipt in receipts if receipt.memory_id]
