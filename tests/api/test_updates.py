"""POST /api/memories?on_conflict=update and =replace: what becomes of each field of the envelope.

An update merges what was sent over the version in force. A field that is sent as null, or empty, takes its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from memoryhub.memories import relabel
from memoryhub.memories.envelope import FIELDS
from memoryhub.memories.ingest import OnConflict
from memoryhub.memories.models import Memory
from tests.api.receipts import Receipt, post_batch, post_memory
from tests.builders import WRITER, at, make_key
from tests.harness.write_worlds.writers import import_rows

pytestmark = pytest.mark.django_db

NEVER = object()
"""In place of a value: there is none that this field could take."""
THEN = "2026-03-01T06:00:00Z"
LATER = "2026-03-02T07:00:00Z"


def axis(place: int) -> list[float]:
    return [float(at == place) for at in range(settings.MEMORYHUB.embedding_dimensions)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One field: a value that it has, another one that is sent, and what clearing it comes to."""

    first: Any
    other: Any
    default: Any = ""
    empty: tuple[Any, ...] = (None, "")
    """What is sent in order to clear it."""
    other_outcome: str = "updated"
    """The outcome, or the code of the refusal, when the other value is sent."""
    clear_outcome: str = "updated"


NAME = Case(first="first", other="other")
CASES: dict[str, Case] = {
    # The identity, without which there is no update, and which no update changes.
    "payload_id": Case(first="p", other=NEVER, clear_outcome="invalid_value"),
    "source": Case(
        first="test", other="elsewhere", default="test", other_outcome="source_mismatch", clear_outcome="duplicate"
    ),
    # There is no memory without content.
    "content": Case(first="Ada lives in Paris.", other="Ada lives in Rome.", clear_outcome="invalid_value"),
    # The number of an attempt makes no other write of it.
    "request_id": Case(first="try-1", other="try-2", other_outcome="duplicate", clear_outcome="duplicate"),
    **dict.fromkeys(("subject", "destination", "collection", "model", "role", "transform_version"), NAME),
    "idempotency_key": NAME,
    "actor_id": NAME,
    "actor_type": Case(first="user", other="system", default="agent"),
    "timestamp": Case(first=at("2026-03-01 06:00"), other=at("2026-03-02 07:00"), default=NEVER),
    "expires_at": Case(first=at("2199-03-01 06:00"), other=at("2199-03-02 07:00"), default=None),
    "schema_version": Case(first=2, other=3, default=1, empty=(None,)),
    "kind": Case(first="summary", other="checkpoint", default="fact"),
    "pinned": Case(first=True, other=False, default=False, empty=(None,)),
    "metadata": Case(first={"n": 1}, other={"m": [2]}, default={}, empty=(None, {})),
    "propagation": Case(first={"n": 1}, other={"m": [2]}, default=None, empty=(None, {})),
    "embedding": Case(first=axis(0), other=axis(1), default=None, empty=(None, [])),
    # A classification is raised by whoever may write, and lowered by whoever may declassify.
    "classification_tier": Case(
        first="internal", other="confidential", default="public", clear_outcome="declassification"
    ),
    "sensitivity_labels": Case(
        first=["eu"], other=["eu", "hr"], default=[], empty=(None, []), clear_outcome="declassification"
    ),
    "namespace": Case(
        first="alpha", other="beta", other_outcome="declassification", clear_outcome="declassification"
    ),
}  # fmt: skip
IDENTITY = ("payload_id", "source")
WHOLE = {name: case.first for name, case in CASES.items()}


def test_every_field_of_the_envelope_is_a_case():
    assert set(CASES) == set(FIELDS)


def key(scopes: str = "write read", **fields: Any) -> str:
    return make_key(scopes=scopes, source="test", clearance={"max_tier": "confidential"}, **fields)


@pytest.fixture
def writer(api: Any) -> Any:
    return api(key())


@pytest.fixture
def whole(writer: Any) -> None:
    """There is a memory every field of which was sent."""
    assert write(writer, "", **WHOLE).outcome == "created"


def write(client: Any, on_conflict: str, **fields: Any) -> Receipt:
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return post_memory(client, on_conflict=on_conflict, **{"payload_id": "p", **plain})


def update(client: Any, **fields: Any) -> Receipt:
    return write(client, "update", **fields)


def current(payload_id: str = "p") -> Memory:
    return Memory.objects.get(payload_id=payload_id, superseded_at=None)


def stored(memory: Memory) -> dict[str, Any]:
    """The fields of the envelope as they are stored."""
    values = {name: getattr(memory, name) for name in FIELDS}
    return {**values, "embedding": None if memory.embedding is None else [float(part) for part in memory.embedding]}


def check_stored(expected: Mapping[str, Any], *, defaulted: set[str], version: int) -> None:
    memory = current()
    assert stored(memory) == dict(expected)
    assert set(memory.defaulted) == defaulted
    assert memory.version == version
    assert Memory.objects.filter(payload_id="p").count() == version


def outcome(receipt: Receipt) -> str:
    return receipt.code or receipt.outcome


CHANGEABLE = [name for name in CASES if name != "payload_id"]
of_a_whole_memory = pytest.mark.usefixtures("whole")
each_field = pytest.mark.parametrize("field", CHANGEABLE)
CLEARED = [(name, empty) for name, case in CASES.items() for empty in case.empty]


class TestAnUpdate:
    @of_a_whole_memory
    @each_field
    def test_stores_a_value_that_is_sent(self, writer, field):
        case = CASES[field]

        receipt = update(writer, **{field: case.other})

        assert outcome(receipt) == case.other_outcome
        if receipt.is_stored:
            expected = WHOLE | {field: case.other} | dropped_with(field)
            check_stored(expected, defaulted=set(dropped_with(field)), version=2)
        else:
            check_stored(WHOLE, defaulted=set(), version=1)

    @of_a_whole_memory
    @each_field
    def test_of_a_value_that_is_stored_already_is_a_duplicate(self, writer, field):
        receipt = update(writer, **{field: CASES[field].first})

        assert receipt.short == (200, "duplicate")
        check_stored(WHOLE, defaulted=set(), version=1)

    @of_a_whole_memory
    @each_field
    def test_leaves_a_value_that_is_not_sent(self, writer, field):
        """Sent is one other field, which makes a new version."""
        other = "role" if field != "role" else "subject"

        assert update(writer, **{other: "other"}).short == (200, "updated")

        check_stored(WHOLE | {other: "other"}, defaulted=set(), version=2)

    @each_field
    def test_leaves_a_default_that_stands_for_what_was_not_sent(self, writer, field):
        write(writer, "", content="Ada lives in Paris.")
        before = current()
        other = "role" if field != "role" else "subject"

        assert update(writer, **{other: "other"}).short == (200, "updated")

        check_stored(stored(before) | {other: "other"}, defaulted=set(before.defaulted) - {other}, version=2)

    @of_a_whole_memory
    @pytest.mark.parametrize(("field", "empty"), CLEARED)
    def test_clears_a_value_that_is_sent_as_null_or_empty(self, writer, field, empty, time_machine):
        case = CASES[field]
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        receipt = update(writer, **{field: empty})

        assert outcome(receipt) == case.clear_outcome
        if receipt.is_stored:
            default = timezone.now() if field == "timestamp" else case.default
            check_stored(WHOLE | {field: default}, defaulted={field}, version=2)
        else:
            check_stored(WHOLE, defaulted=set(), version=1)

    @pytest.mark.parametrize(("field", "empty"), [pair for pair in CLEARED if pair[0] not in ("payload_id", "content")])
    def test_that_clears_what_is_a_default_already_is_a_duplicate(self, writer, field, empty):
        write(writer, "", content="Ada lives in Paris.")
        before = current()

        assert update(writer, **{field: empty}).short == (200, "duplicate")

        check_stored(stored(before), defaulted=set(before.defaulted), version=1)

    @of_a_whole_memory
    @each_field
    def test_of_all_fields_but_one_leaves_that_one(self, writer, field):
        others = {name: case.other for name, case in CASES.items() if case.other_outcome == "updated" and name != field}
        del others["payload_id"]

        assert update(writer, **others).short == (200, "updated")

        dropped = dropped_with("content") if "content" in others else {}
        dropped = {name: value for name, value in dropped.items() if name not in others}
        check_stored(WHOLE | others | dropped, defaulted=set(dropped), version=2)

    @of_a_whole_memory
    def test_of_nothing_is_a_duplicate(self, writer):
        assert update(writer).short == (200, "duplicate")

    @of_a_whole_memory
    def test_names_every_field_that_is_wrong(self, writer):
        receipt = update(writer, pinned=1, timestamp="now", nonsense=1)

        assert receipt.short == (400, "unknown_field")
        assert receipt.errors.keys() == {"pinned", "timestamp", "nonsense"}

    def test_has_a_receipt_without_a_version(self, writer):
        receipts = [
            update(writer, content="Paris."),
            update(writer, content="Rome."),
            update(writer, content="Rome."),
            write(writer, "", content="Rome."),
        ]

        assert [(receipt.short, receipt.version) for receipt in receipts] == [
            ((201, "created"), 1), ((200, "updated"), None), ((200, "duplicate"), None), ((200, "duplicate"), None),
        ]  # fmt: skip
        assert {receipt.memory_id for receipt in receipts} == {current().memory_id}

    def test_of_what_is_not_there_creates_it(self, writer):
        assert update(writer, content="Paris.", role="assistant").short == (201, "created")
        assert (current().content, current().role, current().version) == ("Paris.", "assistant", 1)

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_of_what_is_not_there_needs_content(self, writer, on_conflict):
        receipt = write(writer, on_conflict, role="assistant")

        assert receipt.short == (400, "invalid_value")
        assert list(receipt.errors) == ["content"]
        assert not Memory.objects.exists()

    @of_a_whole_memory
    def test_without_content_is_refused_where_updates_are(self, writer):
        assert write(writer, "refuse", role="other").short == (400, "invalid_value")

    def test_in_a_batch_sees_the_items_before_it(self, writer):
        receipts = post_batch(
            writer,
            {"payload_id": "p", "role": "too early"},
            {"payload_id": "p", "content": "Paris."},
            {"payload_id": "p", "role": "assistant"},
            {"payload_id": "p", "subject": "user:ada"},
            {"payload_id": "p", "role": "assistant", "subject": "user:ada"},
            {"payload_id": "p", "role": None},
            on_conflict="update",
        )

        assert [outcome(receipt) for receipt in receipts] == [
            "invalid_value", "created", "updated", "updated", "duplicate", "updated",
        ]  # fmt: skip
        assert (current().content, current().subject, current().role) == ("Paris.", "user:ada", "")


def dropped_with(field: str) -> dict[str, Any]:
    """What new content takes with it, where it was not sent: the embedding of the old one."""
    return {"embedding": None, "timestamp": NOW_OF_THE_UPDATE} if field == "content" else {}


class _TheTimeOfTheUpdate:
    """Equal to an instant of the last minute."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datetime) and timedelta(0) <= timezone.now() - other < timedelta(minutes=1)

    def __hash__(self) -> int:
        return 0


NOW_OF_THE_UPDATE = _TheTimeOfTheUpdate()


class TestNewContent:
    DATED = {"content": "Ada lives in Paris.", "timestamp": THEN, "embedding": axis(0)}

    @pytest.fixture(autouse=True)
    def _dated(self, writer: Any, time_machine: Any) -> None:
        write(writer, "", **self.DATED)
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

    def test_drops_the_embedding_and_is_of_now(self, writer):
        assert update(writer, content="Ada lives in Rome.").short == (200, "updated")

        assert (current().embedding, current().timestamp) == (None, timezone.now())
        assert {"embedding", "timestamp"} <= set(current().defaulted)

    def test_takes_an_embedding_and_a_time_that_come_with_it(self, writer):
        assert update(writer, content="Ada lives in Rome.", embedding=axis(1), timestamp=LATER).short == (
            200,
            "updated",
        )

        assert (list(current().embedding), current().timestamp) == (axis(1), at("2026-03-02 07:00"))
        assert {"embedding", "timestamp"}.isdisjoint(current().defaulted)

    @pytest.mark.parametrize("content", [{}, {"content": "Ada lives in Paris."}], ids=["unsent", "the same"])
    def test_that_is_none_leaves_both(self, writer, content):
        assert update(writer, role="assistant", **content).short == (200, "updated")

        assert (list(current().embedding), current().timestamp) == (axis(0), at("2026-03-01 06:00"))
        assert {"embedding", "timestamp"}.isdisjoint(current().defaulted)

    def test_leaves_a_time_that_was_a_default_a_default(self, writer):
        write(writer, "", payload_id="q", content="Ada lives in Paris.")
        before = current("q")

        assert update(writer, payload_id="q", role="assistant").short == (200, "updated")

        assert current("q").timestamp == before.timestamp
        assert "timestamp" in current("q").defaulted

    def test_is_known_again_later(self, writer, time_machine):
        update(writer, content="Ada lives in Rome.")
        before = current()
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        assert update(writer, content="Ada lives in Rome.").short == (200, "duplicate")
        assert current() == before


class TestAReplacement:
    @pytest.mark.parametrize("field", [name for name in CHANGEABLE if CASES[name].clear_outcome != "declassification"])
    def test_resets_what_is_not_sent(self, writer, field, time_machine):
        first = {field: CASES[field].first}
        write(writer, "", **{"content": "Ada lives in Paris.", **first})
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        receipt = write(writer, "replace", content="Ada lives in Rome.")

        assert receipt.short == (200, "updated")
        memory = current()
        default = {"timestamp": timezone.now(), "content": "Ada lives in Rome."}.get(field, CASES[field].default)
        assert stored(memory)[field] == default
        assert set(memory.defaulted) == set(FIELDS) - {"payload_id", "content"}

    @pytest.mark.parametrize("field", [name for name in CASES if CASES[name].clear_outcome == "declassification"])
    def test_that_leaves_out_a_classification_does_not_lower_it(self, writer, field):
        write(writer, "", content="Ada lives in Paris.", **{field: CASES[field].first})

        assert write(writer, "replace", content="Ada lives in Rome.").short == (403, "declassification")
        assert write(writer, "replace", content="Ada lives in Rome.", **{field: CASES[field].first}).short == (
            200,
            "updated",
        )

    @of_a_whole_memory
    def test_by_the_same_is_a_duplicate(self, writer):
        assert write(writer, "replace", **WHOLE).short == (200, "duplicate")
        check_stored(WHOLE, defaulted=set(), version=1)

    @of_a_whole_memory
    def test_needs_content(self, writer):
        receipt = write(writer, "replace", role="other")

        assert receipt.short == (400, "invalid_value")
        assert list(receipt.errors) == ["content"]

    def test_of_what_is_not_there_creates_it(self, writer):
        receipt = write(writer, "replace", content="Paris.")

        assert (receipt.short, receipt.version) == ((201, "created"), 1)


SENT: dict[str, Any] = {
    "classification_tier": "internal", "sensitivity_labels": ["eu", "hr"], "namespace": "alpha",
}  # fmt: skip
RAISE = {"classification_tier": "confidential"}
LOWER = {"classification_tier": "public"}
LABEL = {"add_labels": ["pii"]}
UNLABEL = {"remove_labels": ["hr"]}
MOVE = {"namespace": "omega"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a steward made of a memory that was sent as SENT, what its writer sends then, and what is stored then."""

    name: str
    steward: Mapping[str, Any]
    sent: Mapping[str, Any]
    stored: Mapping[str, Any]
    outcome: str = "updated"


def refused(name: str, sent: Mapping[str, Any], steward: Mapping[str, Any] = {}) -> list[Rule]:
    """Lowered below what was last sent, whatever a steward has made of it: nothing is stored."""
    return [
        Rule(name=f"{name}, {what}", steward=by, sent=sent, stored=after, outcome="declassification")
        for what, by, after in (
            ("untouched", {}, {}),
            ("raised", RAISE, {"classification_tier": "confidential"}),
            ("lowered", LOWER, {"classification_tier": "public"}),
            ("labelled", LABEL, {"sensitivity_labels": ["eu", "hr", "pii"]}),
            ("unlabelled", UNLABEL, {"sensitivity_labels": ["eu"]}),
            ("moved", MOVE, {"namespace": "omega"}),
        )
    ]


PII = {"sensitivity_labels": ["eu", "hr", "pii"]}
RULES = [
    Rule(name="raised by the writer", steward={}, sent=RAISE, stored=RAISE),
    Rule(name="labelled by the writer", steward={}, sent=PII, stored=PII),
    Rule(name="the same", steward={}, sent=SENT, stored={}),
    Rule(name="the same labels in other spelling", steward={}, sent={"sensitivity_labels": ["HR", "eu"]}, stored={}),
    # What somebody else raised stays raised.
    Rule(name="raised, then sent as before", steward=RAISE, sent=SENT, stored=RAISE),
    Rule(name="raised, then unsent", steward=RAISE, sent={}, stored=RAISE),
    Rule(name="raised, then raised as far by the writer", steward=RAISE, sent=RAISE, stored=RAISE),
    Rule(name="raised, then labelled by the writer", steward=RAISE, sent=PII, stored=RAISE | PII),
    Rule(name="labelled, then sent as before", steward=LABEL, sent=SENT, stored=PII),
    Rule(name="labelled, then unsent", steward=LABEL, sent={}, stored=PII),
    Rule(
        name="labelled, then labelled by the writer",
        steward=LABEL,
        sent={"sensitivity_labels": ["eu", "hr", "vip"]},
        stored={"sensitivity_labels": ["eu", "hr", "pii", "vip"]},
    ),
    Rule(
        name="labelled, then labelled alike",
        steward=LABEL,
        sent={"sensitivity_labels": ["eu", "hr", "PII"]},
        stored=PII,
    ),
    Rule(name="moved, then sent as before", steward=MOVE, sent=SENT, stored=MOVE),
    Rule(name="moved, then unsent", steward=MOVE, sent={}, stored=MOVE),
    Rule(name="moved, then raised by the writer", steward=MOVE, sent=RAISE, stored=MOVE | RAISE),
    # What somebody else opened is closed again by a writer that says so, and stays open under one that says nothing.
    Rule(name="lowered, then sent as before", steward=LOWER, sent=SENT, stored={}),
    Rule(name="lowered, then unsent", steward=LOWER, sent={}, stored=LOWER),
    Rule(name="lowered, then raised by the writer", steward=LOWER, sent=RAISE, stored=RAISE),
    Rule(name="unlabelled, then sent as before", steward=UNLABEL, sent=SENT, stored={}),
    Rule(name="unlabelled, then unsent", steward=UNLABEL, sent={}, stored={"sensitivity_labels": ["eu"]}),
    *refused("lower tier", {"classification_tier": "public"}),
    *refused("cleared tier", {"classification_tier": None}),
    *refused("fewer labels", {"sensitivity_labels": ["eu"]}),
    *refused("other labels", {"sensitivity_labels": ["eu", "vip"]}),
    *refused("cleared labels", {"sensitivity_labels": []}),
    *refused("another namespace", {"namespace": "beta"}),
    *refused("cleared namespace", {"namespace": ""}),
    *refused("the namespace that it was moved to", MOVE),
    *refused("higher tier with fewer labels", {**RAISE, "sensitivity_labels": []}),
]


def steward_changes(change: Mapping[str, Any]) -> None:
    memory = current()
    if "namespace" in change:
        line = {"source": "test", "payload_id": "p", "content": memory.content, **classification(memory), **change}
        import_rows([line], OnConflict.UPDATE)
    elif change:
        plan = relabel.plan_one(memory.memory_id, relabel.read(change, relabel.Change), by=WRITER)
        relabel.carry_out(plan, reason="Looked at.")


def classification(memory: Memory) -> dict[str, Any]:
    return {name: getattr(memory, name) for name in SENT}


def same_labels(one: Mapping[str, Any]) -> dict[str, Any]:
    """A classification with its labels as they are compared."""
    return {**one, "sensitivity_labels": sorted({label.casefold() for label in one["sensitivity_labels"]})}


class TestTheClassificationOfAnUpdate:
    @pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
    def test_is_the_stricter_of_what_was_sent_and_what_is_in_force(self, writer, rule):
        write(writer, "", content="Paris.", **SENT)
        steward_changes(rule.steward)

        receipt = update(writer, content="Rome.", **rule.sent)

        assert outcome(receipt) == rule.outcome
        assert receipt.status == (200 if receipt.is_stored else 403)
        assert same_labels(classification(current())) == same_labels({**SENT, **rule.stored})
        assert current().content == ("Rome." if receipt.is_stored else "Paris.")

    def test_is_compared_with_what_was_sent_last(self, writer):
        """Not with what was sent first."""
        write(writer, "", content="Paris.", classification_tier="public")

        assert update(writer, classification_tier="internal").short == (200, "updated")
        assert update(writer, classification_tier="public").short == (403, "declassification")
        assert update(writer, role="assistant").short == (200, "updated")
        assert update(writer, classification_tier="public").short == (403, "declassification")
        assert update(writer, classification_tier="confidential").short == (200, "updated")
        assert update(writer, classification_tier="internal").short == (403, "declassification")
        assert current().classification_tier == "confidential"

    def test_is_the_same_for_all_keys_of_a_source(self, api, writer):
        other = api(key())
        write(writer, "", content="Paris.", classification_tier="public")

        assert update(other, classification_tier="internal").short == (200, "updated")
        assert update(writer, classification_tier="public").short == (403, "declassification")

    def test_is_raised_by_its_writer_where_a_steward_has_raised_it_as_far_already(self, writer):
        write(writer, "", content="Paris.", **SENT)
        steward_changes(RAISE)

        assert update(writer, **RAISE).short == (200, "updated")
        assert update(writer, **RAISE).short == (200, "duplicate")
        assert update(writer, classification_tier="internal").short == (403, "declassification")

    def test_is_not_repeated_in_a_version_when_it_is_sent_again(self, writer):
        write(writer, "", content="Paris.", **SENT)
        steward_changes(RAISE)
        before = current()

        assert update(writer, content="Paris.", **SENT).short == (200, "duplicate")
        assert write(writer, "refuse", content="Paris.", **SENT).short == (200, "duplicate")
        assert current() == before

    @pytest.mark.parametrize(
        "lower",
        [{"classification_tier": "public"}, {"sensitivity_labels": ["eu"]}, {"namespace": "beta"}],
        ids=["lower tier", "fewer labels", "another namespace"],
    )
    def test_is_lowered_by_whoever_may_declassify(self, api, writer, lower):
        write(writer, "", content="Paris.", **SENT)
        trusted = api(key("write read declassify"))

        assert update(writer, **lower).short == (403, "declassification")
        assert update(trusted, **lower).short == (200, "updated")
        assert classification(current()) == {**SENT, **lower}
        # From then on that is what was last sent.
        assert update(writer, **lower, role="assistant").short == (200, "updated")

    @pytest.mark.parametrize(
        "beyond",
        [{"classification_tier": "restricted"}, {"sensitivity_labels": ["eu", "hr", "sealed"]}],
        ids=["tier", "label"],
    )
    @pytest.mark.parametrize("steward", [{}, RAISE, MOVE], ids=["untouched", "raised", "moved"])
    def test_is_not_raised_beyond_the_writers_clearance(self, api, beyond, steward):
        clearance = {"max_tier": "confidential", "blocked_labels": ["sealed"]}
        writer = api(make_key(scopes="write read", source="test", clearance=clearance))
        write(writer, "", content="Paris.", **SENT)
        steward_changes(steward)

        assert update(writer, **beyond).short == (403, "above_clearance")
        assert current().content == "Paris."
