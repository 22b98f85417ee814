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

from memoryhub.firewall.types import Clearance
from memoryhub.memories.envelope import Draft, draft
from memoryhub.memories.identity import Classification
from memoryhub.memories.identity import classified as reclassify
from tests.builders import envelope

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


def examples(normal: int, *, soak: int = 10_000) -> settings:
    """How many examples hypothesis tries: enough for every run, or enough for a night."""
    return settings(max_examples=soak if SOAK else normal)


@contextmanager
def rolled_back() -> Iterator[None]:
    """What is written in the block is gone after it; for one example of many inside one test."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def planted(**fields: Any) -> Draft:
    """A draft with any tier that the table can hold, though no writer could hand it in."""
    tier = fields.pop("tier", "public")
    made = draft(envelope(**fields), source=None, actor_type="agent", now=NOW)
    labels = tuple(made.sensitivity_labels)
    made = reclassify(
        made, Classification(namespace=made.namespace, classification_tier=tier, sensitivity_labels=labels)
    )
    # Without a tier a draft takes the most open one.
    return replace(made, classification_tier=tier)


def label_sets(most: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LABELS), max_size=most)


def classified() -> st.SearchStrategy[dict[str, Any]]:
    """What the firewall judges a row by."""
    return st.fixed_dictionaries(
        {"namespace": st.sampled_from(NAMESPACES), "tier": st.sampled_from(TIERS), "labels": label_sets()}
    )


def clearances() -> st.SearchStrategy[Clearance]:
    some = st.frozensets(st.sampled_from(NAMESPACES), max_size=3)
    return st.builds(
        Clearance,
        max_tier=st.sampled_from(TIERS),
        blocked_labels=label_sets(2).map(frozenset),
        required_labels=label_sets(2).map(frozenset),
        namespaces=st.none() | some,
        sees_quarantined=st.booleans(),
    )
