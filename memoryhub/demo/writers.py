"""The sources of the demo's memories, and the envelopes that they build."""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from memoryhub.demo.story import STORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """How a source fills in the fields of its envelopes."""

    payload_id_prefix: str
    actors: tuple[str, ...]
    actor_type: str = "agent"
    models: tuple[str, ...] = ()
    role: str = "assistant"
    destinations: tuple[str, ...] = ()
    transform_versions: tuple[str, str] = ("", "")
    """The versions before and after an upgrade half-way through the story."""
    has_microseconds: bool = False
    namespace: str = ""


WRITERS = {
    "claude-code": Writer(
        payload_id_prefix="cc",
        actors=(
            "claude-code/mara",
            "claude-code/tomasz",
            "claude-code/kenji",
            "claude-code/ines",
            "claude-code/viktor",
        ),
        models=("claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5"),
        destinations=("sqlite-local", "vectors-main"),
        transform_versions=("extract-1.9", "extract-2.0"),
        has_microseconds=True,
    ),
    "support-bot": Writer(
        payload_id_prefix="sb",
        actors=("support-bot-eu", "support-bot-us", "support-bot-apac"),
        models=("gpt-4.1-mini", "gpt-4.1"),
        destinations=("pinecone-support",),
        transform_versions=("ticket-memory-3.2", "ticket-memory-3.3"),
    ),
    "sales-copilot": Writer(
        payload_id_prefix="sc",
        actors=("copilot/omar", "copilot/chloe"),
        models=("gpt-4.1", "mistral-medium-3"),
        destinations=("supabase-crm",),
        transform_versions=("crm-note-1", "crm-note-1"),
    ),
    "meeting-scribe": Writer(
        payload_id_prefix="ms",
        actors=("scribe", "scribe-apac"),
        models=("gemini-2.5-flash", "gemini-2.5-pro"),
        role="tool",
        destinations=("vectors-main",),
        transform_versions=("transcript-0.8", "transcript-0.9"),
    ),
    "ops-watch": Writer(
        payload_id_prefix="ow",
        actors=("rule-engine", "cron/weekly-health", "pager"),
        actor_type="system",
        role="system",
        transform_versions=("alerts-5", "alerts-6"),
        has_microseconds=True,
    ),
    "research-agent": Writer(
        payload_id_prefix="ra",
        actors=("research-agent-1", "research-agent-2"),
        models=("claude-opus-4-1", "o4-mini"),
        destinations=("vectors-main",),
        transform_versions=("reader-0.3", "reader-0.4"),
    ),
    "people-desk": Writer(
        payload_id_prefix="pd",
        actors=("people-desk", "nia"),
        models=("mistral-medium-3",),
        transform_versions=("hr-form-2", "hr-form-2"),
    ),
    "handbook": Writer(
        payload_id_prefix="hb", actors=("nia", "linnea", "priya", "elias"), actor_type="user", role="user"
    ),
}

# The probability that a source leaves out a field that it could fill in.
OMISSION_PROBABILITIES = {
    "request_id": 0.22,
    "destination": 0.55,
    "model": 0.06,
    "role": 0.3,
    "idempotency_key": 0.4,
    "schema_version": 0.5,
    "transform_version": 0.3,
    "actor_type": 0.12,
    "actor_id": 0.07,
    "metadata": 0.18,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoNote:
    """A statement before its writer puts it into an envelope. The notes of one thread share a payload_id."""

    timestamp: datetime
    source: str
    subject: str
    namespace: str
    collection: str
    content: str
    tier: str
    thread: str
    labels: tuple[str, ...] = ()
    kind: str = "fact"
    is_background: bool = False


def truncate_to_source_precision(note: DemoNote) -> DemoNote:
    """Truncate the timestamp as the source will write it, so that sorted notes give sorted envelopes."""
    return (
        note
        if WRITERS[note.source].has_microseconds
        else replace(note, timestamp=note.timestamp.replace(microsecond=0))
    )


def to_envelope(note: DemoNote, *, rng: Random, seed: int, is_upgraded: bool) -> dict[str, object]:
    """Return the envelope as its source would post it, with some optional fields left out at random."""
    writer = WRITERS[note.source]
    actor = rng.choice(writer.actors)
    optional_fields: dict[str, object] = {
        "request_id": f"req_{rng.getrandbits(64):016x}" if writer.actor_type != "user" else "",
        "destination": rng.choice(writer.destinations) if writer.destinations else "",
        "model": rng.choice(writer.models) if writer.models else "",
        "role": writer.role,
        "idempotency_key": f"{writer.payload_id_prefix}:{rng.getrandbits(48):012x}"
        if writer.actor_type != "user"
        else "",
        "schema_version": 1,
        "transform_version": writer.transform_versions[is_upgraded],
        "actor_type": "user" if actor == "nia" else writer.actor_type,
        "actor_id": actor,
        "metadata": _build_metadata(note, rng),
    }
    envelope: dict[str, object] = {
        "payload_id": f"{writer.payload_id_prefix}-{_compute_digest(seed, note.source, note.thread)}",
        "source": note.source,
        "subject": note.subject,
        "content": note.content,
        "timestamp": note.timestamp.isoformat(timespec="microseconds" if writer.has_microseconds else "seconds")[:-6]
        + "Z",
    }
    envelope.update(
        {
            name: value
            for name, value in optional_fields.items()
            if value and rng.random() >= OMISSION_PROBABILITIES[name]
        }
    )
    envelope.update(_classification_fields(note, rng))
    return envelope


def _classification_fields(note: DemoNote, rng: Random) -> dict[str, object]:
    """Return namespace, collection, labels, tier and kind; a value that equals the default is often left out."""
    random_fraction = rng.random
    fields: dict[str, object] = {}
    if not (note.is_background and random_fraction() < 0.02):
        fields["namespace"] = note.namespace
    if not (note.is_background and random_fraction() < 0.01):
        fields["collection"] = note.collection
    if note.labels or random_fraction() < 0.2:
        fields["sensitivity_labels"] = list(note.labels)
    if note.tier != "public" or random_fraction() < 0.75:
        fields["classification_tier"] = note.tier
    if note.kind != "fact" or random_fraction() < 0.4:
        fields["kind"] = note.kind
    return fields


def _build_metadata(note: DemoNote, rng: Random) -> dict[str, object]:
    if note.source == "claude-code":
        name = re.split("[#@]", note.subject.partition(":")[2])[0]
        repo = name if any(name == row["service"] for row in STORY.services) else "monorepo"
        return {"repo": f"larkspur/{repo}", "commit": f"{rng.getrandbits(40):010x}", "turn": rng.randint(2, 90)}
    channel = rng.choice(("phone", "mail", "portal", "chat"))
    region = rng.choice(("eu-central", "us-east", "ap-northeast"))
    metadata_by_source: dict[str, dict[str, object]] = {
        "support-bot": {"channel": channel, "confidence": round(rng.uniform(0.5, 0.99), 2)},
        "sales-copilot": {"crm": {"record": f"006{rng.getrandbits(36):09x}", "field": note.collection}},
        "meeting-scribe": {"recording": f"rec-{rng.getrandbits(28):07x}", "minute": rng.randint(1, 58)},
        "ops-watch": {"region": region, "rule": note.collection},
        "research-agent": {"url": f"https://reading.example/{rng.getrandbits(32):08x}", "verified": False},
        "people-desk": {"case": f"HR-{rng.randint(200, 980)}"},
        "handbook": {"page": note.collection, "edited_in": "wiki"},
    }
    return metadata_by_source[note.source]


def _compute_digest(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]
