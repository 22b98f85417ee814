"""The text that searches read: what a memory says, with its secrets masked."""

import hashlib

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.secrets import MASK, SECRET_PATTERNS, mask_secrets
from memoryhub.core.storable_text import INVISIBLE_CHARACTERS
from memoryhub.memories.models import Memory
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from tests.core.test_secrets import HARMLESS, SECRETS
from tests.factories import WRITER, make_memory

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
# Of what the newest migration filled the stored masked texts with: another digest needs another migration.
MASK_DIGEST = "ac9f7e7e"


def test_the_stored_texts_were_masked_by_the_present_rules():
    rules = repr((SECRET_PATTERNS, INVISIBLE_CHARACTERS, MASK)).encode()

    assert hashlib.sha256(rules).hexdigest()[:8] == MASK_DIGEST, "fill them anew in a migration, as 0011 does"


@pytest.mark.django_db
class TestMemory:
    def test_keeps_a_masked_text_only_if_it_holds_a_secret(self):
        assert make_memory(content="Ada lives in Paris.").masked_content is None
        assert make_memory(content=f"The key is {KEY}.").masked_content == f"The key is AKIA{MASK}."

    def test_keeps_it_when_it_is_classified_anew(self):
        memory = make_memory(content=f"The key is {KEY}.")
        change = ClassificationChange(classification_tier="internal")
        classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=WRITER))

        assert Memory.objects.get(memory_id=memory.memory_id, version=2).masked_content == memory.masked_content

    @pytest.mark.parametrize("search_mode", ["matching_by_index", "matching_by_scan"])
    def test_is_found_by_what_is_shown_of_it_and_not_by_what_is_masked(self, search_mode):
        memory = make_memory(content=f"The key is {KEY}, keep it.")

        def search_memories(text: str) -> list[Memory]:
            current = Memory.objects.visible_to(WRITER.clearance).current()
            return list(getattr(current, search_mode)(SearchTerms(literals=(text,))).as_id_subquery())

        assert search_memories("the key is akia") == search_memories(", keep it") == [memory]
        current = Memory.objects.visible_to(WRITER.clearance).current()
        assert [hit for _, _, hit in current.sample(SearchTerms(literals=("AKIAI",)), 10)] == [False]
        assert search_memories("AKIAI") == search_memories(KEY) == search_memories("EXAMPLE") == []


PIECES = st.one_of(st.sampled_from([secret for secret, _ in SECRETS] + HARMLESS), st.text(max_size=4))
DISGUISES = (
    lambda text: text,
    "\u200b".join,
    "\U000e0041".join,
    lambda text: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text),
    lambda text: "".join(chr(0xE0000 + ord(letter)) if " " <= letter <= "~" else letter for letter in text),
)
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from(DISGUISES)), max_size=3).map(
    lambda parts: " ".join(disguise(text[:400]) for text, disguise in parts).replace("\0", "")
)


@pytest.mark.django_db
@given(TEXTS)
def test_postgresql_knows_which_texts_hold_a_secret_as_python_does(text):
    with connection.cursor() as cursor:
        cursor.execute("SELECT memory_holds_secret(%s)", [text])
        assert cursor.fetchone()[0] is (mask_secrets(text) != text)
