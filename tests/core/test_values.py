"""The digest of what a memory says as a value, which is written with each row."""

import hashlib

import pytest

from memoryhub.core.canonical import canonicalize_text
from memoryhub.core.values import canonicalize_value, compute_value_digest
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from tests.core.test_canonical import DIFFERENT_VALUES, SAME_VALUES
from tests.factories import WRITER, make_memory

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
# Of what the newest migration filled the stored digests with: another one needs another migration.
MASK_DIGEST = "bb4a71b4"


def test_the_stored_digests_were_computed_by_the_present_rules():
    forms = repr(
        [canonicalize_value(text) for pair in (*SAME_VALUES, *DIFFERENT_VALUES, (KEY, KEY.lower())) for text in pair]
    ).encode()

    assert hashlib.sha256(forms).hexdigest()[:8] == MASK_DIGEST, "fill them anew in a migration, as 0015 does"


def test_a_text_that_holds_a_secret_has_a_form_of_its_own():
    assert canonicalize_value(f"The key is {KEY}.") not in {
        canonicalize_value(f"The key is {KEY}"),
        canonicalize_text(f"The key is {KEY}."),
    }
    assert canonicalize_value("The key is lost.") == canonicalize_text("the key is lost")


@pytest.mark.django_db
def test_every_version_has_the_digest_of_what_it_says():
    memory = make_memory(content="Lead is Tom.", payload_id="lead")
    classify.apply_plan(
        classify.plan_for_memory(
            memory.memory_id, ClassificationChange(classification_tier="internal"), principal=WRITER
        )
    )
    make_memory(content="Lead is Ann.", payload_id="lead", tier="internal")

    value_rows = Memory.objects.order_by("version").values_list("content", "value_sha256")
    assert [bytes(digest) for _, digest in value_rows] == [compute_value_digest(content) for content, _ in value_rows]
    assert len(value_rows) == 3
