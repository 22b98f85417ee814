import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from memoryhub.demo.generator import generate_envelopes

DEMO_END = datetime(2026, 3, 9, 10, 30, tzinfo=UTC)
REQUIRED = {"payload_id", "source", "subject", "content", "timestamp"}
OPTIONAL = {
    "request_id",
    "namespace",
    "destination",
    "collection",
    "model",
    "role",
    "idempotency_key",
    "schema_version",
    "transform_version",
    "actor_type",
    "actor_id",
    "metadata",
    "sensitivity_labels",
    "classification_tier",
    "kind",
}


@cache
def load_story():
    return list(generate_envelopes(seed=7, end_time=DEMO_END))


def current_memories():
    """What a store holds after writing the story in order: the last version of every memory."""
    return list({(envelope["source"], envelope["payload_id"]): envelope for envelope in load_story()}.values())


def event_time(envelope):
    return datetime.fromisoformat(envelope["timestamp"])


def contents_by_key():
    values: defaultdict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
    for envelope in current_memories():
        if "collection" in envelope:
            query = values[envelope["subject"], envelope["collection"]]
            query.setdefault(envelope["content"], set()).add(envelope["source"])
    return values


def repeated_envelopes():
    """Every envelope whose payload_id was there before, with the one it follows."""
    last: dict[tuple[str, str], dict[str, object]] = {}
    for envelope in load_story():
        key = envelope["source"], envelope["payload_id"]
        if key in last:
            yield last[key], envelope
        last[key] = envelope


def test_the_same_arguments_give_the_same_bytes():
    second_story = list(generate_envelopes(seed=7, end_time=DEMO_END))

    assert json.dumps(second_story) == json.dumps(load_story())


def test_another_seed_generates_another_story():
    assert next(generate_envelopes(seed=8, end_time=DEMO_END)) != load_story()[0]


@pytest.mark.parametrize("end", [datetime(2024, 2, 29, tzinfo=UTC), datetime(2027, 8, 14, 23, 59, 59, tzinfo=UTC)])
def test_it_can_end_on_any_day(end):
    envelope_list = list(generate_envelopes(end_time=end))

    assert 11_500 <= len(envelope_list) <= 12_500
    assert end - timedelta(days=120) <= event_time(envelope_list[0])
    assert event_time(envelope_list[-1]) <= end


def test_there_are_about_twelve_thousand_in_the_order_of_their_event_time():
    moments = [event_time(envelope) for envelope in load_story()]

    assert 11_500 <= len(moments) <= 12_500
    assert moments == sorted(moments)
    assert moments[-1] <= DEMO_END


def test_every_day_of_the_120_has_memories_and_working_days_have_more():
    days = Counter(event_time(envelope).date() for envelope in load_story())
    weekend = [size for day, size in days.items() if day.weekday() > 4]
    working = [size for day, size in days.items() if day.weekday() <= 4]

    assert len(days) == 121
    assert sum(working) / len(working) > 3 * sum(weekend) / len(weekend)


def test_the_outage_stands_out():
    hours = Counter(envelope["timestamp"][:13] for envelope in load_story())
    busiest_hour, size = hours.most_common(1)[0]

    assert busiest_hour.endswith(("T09", "T10", "T11"))
    assert size > 4 * sorted(hours.values())[-20]


def test_no_field_outside_the_envelope_and_no_required_one_missing():
    for envelope in load_story():
        assert set(envelope) >= REQUIRED
        assert set(envelope) <= REQUIRED | OPTIONAL
        assert all(envelope[name] for name in REQUIRED)


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_every_optional_field_is_given_somewhere_and_left_out_somewhere(name):
    given_count = sum(name in envelope for envelope in load_story())

    assert 0 < given_count < len(load_story())


def test_values_are_of_the_kinds_that_the_api_accepts():
    for envelope in load_story():
        assert envelope["timestamp"].endswith("Z")
        assert len(envelope["payload_id"]) <= 255
        assert "\x00" not in envelope["content"]
        assert envelope.get("actor_type", "agent") in {"user", "agent", "system"}
        assert envelope.get("kind", "fact") in {"fact", "summary", "checkpoint"}
        assert isinstance(envelope.get("metadata", {}), dict)
        assert isinstance(envelope.get("sensitivity_labels", []), list)


@pytest.mark.parametrize(
    ("tier", "low", "high"),
    [("public", 0.27, 0.33), ("internal", 0.42, 0.48), ("confidential", 0.155, 0.21), ("restricted", 0.055, 0.085)],
)
def test_the_tiers_have_believable_shares(tier, low, high):
    tiers = Counter(envelope.get("classification_tier", "public") for envelope in load_story())

    assert low <= tiers[tier] / len(load_story()) <= high


def test_labels_cover_the_usual_worries_and_some_are_in_mixed_case():
    labels = {label for envelope in load_story() for label in envelope.get("sensitivity_labels", [])}

    assert labels >= {"pii", "financial", "health", "legal", "credentials", "customer-data"}
    assert any(label != label.lower() for label in labels)


def test_there_is_enough_to_browse():
    def count_used(name):
        return {envelope[name] for envelope in load_story() if name in envelope}

    assert len(count_used("subject")) > 40
    assert len(count_used("collection")) > 40
    assert len(count_used("namespace")) >= 6
    assert {subject.partition(":")[0] for subject in count_used("subject")} >= {
        "user",
        "customer",
        "service",
        "project",
        "team",
        "company",
    }
    assert count_used("source") >= {
        "claude-code",
        "support-bot",
        "sales-copilot",
        "meeting-scribe",
        "ops-watch",
        "handbook",
    }


def test_about_three_hundred_updates_bring_other_content():
    updates = [(before, after) for before, after in repeated_envelopes() if before != after]

    assert 250 <= len(updates) <= 380
    assert all(before["content"] != after["content"] for before, after in updates)


def test_about_fifty_envelopes_are_sent_twice_unchanged():
    assert 30 <= sum(before == after for before, after in repeated_envelopes()) <= 75


def test_agents_contradict_each_other_about_single_valued_things():
    single_valued = ("city", "role", "team", "sla", "renewal_date", "owner", "database", "go_live_date", "list_price")
    rivals = [
        query
        for query, values in contents_by_key().items()
        if query[1] in single_valued and len(set().union(*values.values())) > 1 and len(values) > 1
    ]

    assert len(rivals) >= 30


def test_agents_repeat_each_other_word_by_word():
    shared = [
        content for values in contents_by_key().values() for content, sources in values.items() if len(sources) > 1
    ]

    assert len(shared) >= 40


@pytest.mark.parametrize(
    ("subject", "collection", "expected_words"),
    [
        ("user:mara", "city", ("Gothenburg", "Lisbon")),
        ("customer:nordwind", "go_live_date", ("goes live", "fully live")),
        ("service:routing-engine", "incident", ("opened", "resolved after 3 h 17 min")),
        ("service:routing-engine", "postmortem", ("shared connection pool",)),
        ("company", "reorganisation", ("Fleet",)),
        ("company", "product_name", ("Larkspur Dispatch", "Larkspur Harbor")),
        ("company", "list_price", ("11.50", "12.90", "13.50")),
    ],
)
def test_the_long_arcs_can_be_followed(subject, collection, expected_words):
    arc_text = " ".join(
        envelope["content"]
        for envelope in load_story()
        if envelope["subject"] == subject and envelope.get("collection") == collection
    )

    assert all(word in arc_text for word in expected_words)


@pytest.mark.parametrize(
    "text",
    ["Ignore all previous instructions", "onerror=", "\u202e", "\u200b", "\x1b[", "\n", "ß", "請求書", "العميل", "🎉"],
)
def test_hostile_and_foreign_texts_are_among_them(text):
    assert any(text in envelope["content"] for envelope in load_story())


def test_no_slot_of_the_grammar_is_left_open():
    remaining_keys = [
        envelope["content"]
        for envelope in load_story()
        if "{" in envelope["content"] and '"' not in envelope["content"]
    ]

    assert all("constructor" in content for content in remaining_keys)
