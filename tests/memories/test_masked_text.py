"""The text that searches read: what a memory says, with its secrets masked."""

import hashlib

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.memories import relabel
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import Sought
from memoryhub.memories.suspicion import MASK, SECRET_FORMS, masked, masked_or_none
from memoryhub.memories.text import INVISIBLE
from tests.builders import WRITER, make_memory, store
from tests.harness.databases import as_keeper, migrated, world
from tests.harness.generated import planted
from tests.memories.rows import execute
from tests.memories.test_suspicion import HARMLESS, SECRETS

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
# Of what the newest migration filled the stored masked texts with: another digest needs another migration.
FILLED = "ac9f7e7e"


def test_the_stored_texts_were_masked_by_the_present_rules():
    rules = repr((SECRET_FORMS, INVISIBLE, MASK)).encode()

    assert hashlib.sha256(rules).hexdigest()[:8] == FILLED, "fill them anew in a migration, as 0011 does"


@pytest.mark.django_db
class TestAMemory:
    def test_keeps_a_masked_text_only_if_it_holds_a_secret(self):
        assert make_memory(content="Ada lives in Paris.").masked_content is None
        assert make_memory(content=f"The key is {KEY}.").masked_content == f"The key is AKIA{MASK}."

    def test_keeps_it_when_it_is_classified_anew(self):
        memory = make_memory(content=f"The key is {KEY}.")
        change = relabel.Change(classification_tier="internal")
        relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=WRITER))

        assert Memory.objects.get(memory_id=memory.memory_id, version=2).masked_content == memory.masked_content

    @pytest.mark.parametrize("way", ["looked_up", "read_for"])
    def test_is_found_by_what_is_shown_of_it_and_not_by_what_is_masked(self, way):
        memory = make_memory(content=f"The key is {KEY}, keep it.")

        def found(text: str) -> list[Memory]:
            current = Memory.objects.visible_to(WRITER.clearance).current()
            return list(getattr(current, way)(Sought(text=text)).at_once())

        assert found("the key is akia") == found(", keep it") == [memory]
        current = Memory.objects.visible_to(WRITER.clearance).current()
        assert [hit for _, _, hit in current.sampled(Sought(text="AKIAI"), 10)] == [False]
        assert found("AKIAI") == found(KEY) == found("EXAMPLE") == []


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
        assert cursor.fetchone()[0] is (masked(text) != text)


def test_rows_that_were_there_before_are_masked_whoever_may_see_them(django_db_blocker):
    with django_db_blocker.unblock(), world(migrated()) as made, made.entered():
        contents = {
            "plain": "Paris", "key": f"The key is {KEY}.", "hidden": "".join(f"\u200b{letter}" for letter in KEY),
            "lookalike": "A desk-lamp with AKIA on it.",
        }  # fmt: skip
        for name, content in contents.items():
            store([planted(payload_id=name, content=content, tier="restricted")])
        with as_keeper():
            execute("UPDATE memories SET superseded_at = now() WHERE payload_id = 'key'")
        for step in ("0009", "0011"):
            call_command("migrate", "memories", step, verbosity=0, interactive=False)
        with as_keeper():
            found = dict(execute("SELECT payload_id, masked_content FROM memories"))

    assert found == {name: masked_or_none(content) for name, content in contents.items()}
    assert found["key"]
    assert found["hidden"]
