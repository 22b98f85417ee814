"""What hypothesis makes of memories and clearances: small vocabularies, so that rows and rules meet, with twins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st

from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.writes.envelope import MemoryDraft, prepare_draft
from memoryhub.memories.writes.identity import Classification
from memoryhub.memories.writes.identity import with_classification as reclassify
from tests.factories import envelope

QUICK_EXAMPLES = 5
SOAK = os.environ.get("MEMORYHUB_SOAK") == "1"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

KNOWN_TIERS = ("public", "internal", "confidential", "restricted")
# What an operator's changed setting, or a hand that wrote SQL, leaves in the table.
TIERS = ("", *KNOWN_TIERS, "secret", "top-secret")
# Most of them are the same label in another spelling: case, NFC / NFD, full width, letters that only casefold brings
# together, other hyphens, white space, characters that cannot be seen.
LABELS = (
    "pii", "PII", "Pii", "financial", "caf\u00e9", "cafe\u0301", "CAFE\u0301", "stra\u00dfe", "STRASSE", "Stra\u1e9ee",
    "\u03c3", "\u03c2", "\u03a3", "\u0130d", "i\u0307d", "\u017fecret", "secret", "k", "\u212a",
    "\u0345\u0301", "\u03b9\u0301",
    "a b", "a,b", "{}", "'", '"', "\\", "NULL", " pii", "pii\u200b", "p\u00adii", "\uff50\uff49\uff49", "a\u00a0 b",
    "a-b", "a\u2011b", "a\u2212b",
)  # fmt: skip
NAMESPACES = ("", "team", "Team", "team/a", "cafe\u0301", "caf\u00e9")


def example_settings(normal_examples: int, *, soak_examples: int = 10_000) -> settings:
    """How many examples hypothesis tries: enough for every run, or enough for a night; few for `make unit`."""
    if settings.get_current_profile_name() == "quick":
        normal_examples = min(normal_examples, QUICK_EXAMPLES)
    return settings(max_examples=soak_examples if SOAK else normal_examples)


@contextmanager
def roll_back() -> Iterator[None]:
    """What is written in the block is gone after it; for one example of many inside one test."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def prepare_memory(**fields: Any) -> MemoryDraft:
    """A draft with any tier that the table can hold, though no writer could hand it in."""
    tier = fields.pop("tier", "public")
    prepared = prepare_draft(envelope(**fields), source=None, actor_type="agent", now=NOW)
    labels = tuple(prepared.sensitivity_labels)
    prepared = reclassify(
        prepared, Classification(namespace=prepared.namespace, classification_tier=tier, sensitivity_labels=labels)
    )
    # Without a tier a draft takes the most open one.
    return replace(prepared, classification_tier=tier)


def label_set_strategy(max_labels: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LABELS), max_size=max_labels)


def classification_strategy() -> st.SearchStrategy[dict[str, Any]]:
    """What the firewall judges a row by."""
    return st.fixed_dictionaries(
        {"namespace": st.sampled_from(NAMESPACES), "tier": st.sampled_from(TIERS), "labels": label_set_strategy()}
    )


def clearance_strategy() -> st.SearchStrategy[Clearance]:
    namespace_sets = st.frozensets(st.sampled_from(NAMESPACES), max_size=3)
    return st.builds(
        Clearance,
        max_tier=st.sampled_from(TIERS),
        blocked_labels=label_set_strategy(2).map(frozenset),
        required_labels=label_set_strategy(2).map(frozenset),
        namespaces=st.none() | namespace_sets,
        sees_quarantined=st.booleans(),
    )
