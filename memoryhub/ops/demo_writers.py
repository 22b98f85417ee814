"""Who writes the demo's memories, and the envelope that each of them puts around what is said."""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from memoryhub.ops import demo_story as story


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """How a source fills in the envelope around what it says."""

    prefix: str
    actors: tuple[str, ...]
    actor_type: str = "agent"
    models: tuple[str, ...] = ()
    role: str = "assistant"
    destinations: tuple[str, ...] = ()
    transform: tuple[str, str] = ("", "")
    """Before and after its upgrade half-way through the story."""
    microseconds: bool = False
    namespace: str = ""


WRITERS = {
    "claude-code": Writer(
        prefix="cc",
        actors=(
            "claude-code/mara",
            "claude-code/tomasz",
            "claude-code/kenji",
            "claude-code/ines",
            "claude-code/viktor",
        ),
        models=("claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5"),
        destinations=("sqlite-local", "vectors-main"),
        transform=("extract-1.9", "extract-2.0"),
        microseconds=True,
    ),
    "support-bot": Writer(
        prefix="sb",
        actors=("support-bot-eu", "support-bot-us", "support-bot-apac"),
        models=("gpt-4.1-mini", "gpt-4.1"),
        destinations=("pinecone-support",),
        transform=("ticket-memory-3.2", "ticket-memory-3.3"),
    ),
    "sales-copilot": Writer(
        prefix="sc",
        actors=("copilot/omar", "copilot/chloe"),
        models=("gpt-4.1", "mistral-medium-3"),
        destinations=("supabase-crm",),
        transform=("crm-note-1", "crm-note-1"),
    ),
    "meeting-scribe": Writer(
        prefix="ms",
        actors=("scribe", "scribe-apac"),
        models=("gemini-2.5-flash", "gemini-2.5-pro"),
        role="tool",
        destinations=("vectors-main",),
        transform=("transcript-0.8", "transcript-0.9"),
    ),
    "ops-watch": Writer(
        prefix="ow",
        actors=("rule-engine", "cron/weekly-health", "pager"),
        actor_type="system",
        role="system",
        transform=("alerts-5", "alerts-6"),
        microseconds=True,
    ),
    "research-agent": Writer(
        prefix="ra",
        actors=("research-agent-1", "research-agent-2"),
        models=("claude-opus-4-1", "o4-mini"),
        destinations=("vectors-main",),
        transform=("reader-0.3", "reader-0.4"),
    ),
    "people-desk": Writer(
        prefix="pd",
        actors=("people-desk", "nia"),
        models=("mistral-medium-3",),
        transform=("hr-form-2", "hr-form-2"),
    ),
    "handbook": Writer(prefix="hb", actors=("nia", "linnea", "priya", "elias"), actor_type="user", role="user"),
}

# How often a source leaves a field out, if nothing about the memory itself asks for it.
OMITTED = {
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
class Note:
    """What is said, before its writer puts it into an envelope. One thread is one payload_id."""

    at: datetime
    source: str
    subject: str
    namespace: str
    collection: str
    content: str
    tier: str
    thread: str
    labels: tuple[str, ...] = ()
    kind: str = "fact"
    background: bool = False


def as_written(note: Note) -> Note:
    """Most sources write whole seconds, and the order has to hold for what is written."""
    return note if WRITERS[note.source].microseconds else replace(note, at=note.at.replace(microsecond=0))


def dress(note: Note, *, dice: Random, seed: int, is_upgraded: bool) -> dict[str, object]:
    """The envelope as its source would post it: some fill every field in, none of them always."""
    writer = WRITERS[note.source]
    actor = dice.choice(writer.actors)
    optional: dict[str, object] = {
        "request_id": f"req_{dice.getrandbits(64):016x}" if writer.actor_type != "user" else "",
        "destination": dice.choice(writer.destinations) if writer.destinations else "",
        "model": dice.choice(writer.models) if writer.models else "",
        "role": writer.role,
        "idempotency_key": f"{writer.prefix}:{dice.getrandbits(48):012x}" if writer.actor_type != "user" else "",
        "schema_version": 1,
        "transform_version": writer.transform[is_upgraded],
        "actor_type": "user" if actor == "nia" else writer.actor_type,
        "actor_id": actor,
        "metadata": _metadata(note, dice),
    }
    envelope: dict[str, object] = {
        "payload_id": f"{writer.prefix}-{_digest(seed, note.source, note.thread)}",
        "source": note.source,
        "subject": note.subject,
        "content": note.content,
        "timestamp": note.at.isoformat(timespec="microseconds" if writer.microseconds else "seconds")[:-6] + "Z",
    }
    envelope.update({name: value for name, value in optional.items() if value and dice.random() >= OMITTED[name]})
    envelope.update(_classified(note, dice))
    return envelope


def _classified(note: Note, dice: Random) -> dict[str, object]:
    """Where it belongs and who may see it; what equals the default is often left unsaid."""
    said = dice.random
    fields: dict[str, object] = {}
    if not (note.background and said() < 0.02):
        fields["namespace"] = note.namespace
    if not (note.background and said() < 0.01):
        fields["collection"] = note.collection
    if note.labels or said() < 0.2:
        fields["sensitivity_labels"] = list(note.labels)
    if note.tier != "public" or said() < 0.75:
        fields["classification_tier"] = note.tier
    if note.kind != "fact" or said() < 0.4:
        fields["kind"] = note.kind
    return fields


def _metadata(note: Note, dice: Random) -> dict[str, object]:
    if note.source == "claude-code":
        name = re.split("[#@]", note.subject.partition(":")[2])[0]
        repo = name if any(name == row[0] for row in story.SERVICES) else "monorepo"
        return {"repo": f"larkspur/{repo}", "commit": f"{dice.getrandbits(40):010x}", "turn": dice.randint(2, 90)}
    channel = dice.choice(("phone", "mail", "portal", "chat"))
    region = dice.choice(("eu-central", "us-east", "ap-northeast"))
    known: dict[str, dict[str, object]] = {
        "support-bot": {"channel": channel, "confidence": round(dice.uniform(0.5, 0.99), 2)},
        "sales-copilot": {"crm": {"record": f"006{dice.getrandbits(36):09x}", "field": note.collection}},
        "meeting-scribe": {"recording": f"rec-{dice.getrandbits(28):07x}", "minute": dice.randint(1, 58)},
        "ops-watch": {"region": region, "rule": note.collection},
        "research-agent": {"url": f"https://reading.example/{dice.getrandbits(32):08x}", "verified": False},
        "people-desk": {"case": f"HR-{dice.randint(200, 980)}"},
        "handbook": {"page": note.collection, "edited_in": "wiki"},
    }
    return known[note.source]


def _digest(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]
