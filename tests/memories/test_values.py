"""The digest of what a memory says as a value: written with each row, and filled for rows that were there before."""

import hashlib

import pytest
from django.core.management import call_command

from memoryhub.core.canonical import canonical_form
from memoryhub.memories import relabel
from memoryhub.memories.models import Memory
from memoryhub.memories.values import value_digest, value_form
from tests.builders import WRITER, make_memory, store
from tests.conflicts.runs import carried_out, make_policy
from tests.core.test_canonical import DIFFERENT, SAME
from tests.harness.databases import as_keeper, migrated, world
from tests.harness.generated import planted
from tests.memories.rows import execute

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
# Of what the newest migration filled the stored digests with: another one needs another migration.
FILLED = "bb4a71b4"


def test_the_stored_digests_were_computed_by_the_present_rules():
    forms = repr([value_form(text) for pair in (*SAME, *DIFFERENT, (KEY, KEY.lower())) for text in pair]).encode()

    assert hashlib.sha256(forms).hexdigest()[:8] == FILLED, "fill them anew in a migration, as 0015 does"


def test_a_text_that_holds_a_secret_has_a_form_of_its_own():
    assert value_form(f"The key is {KEY}.") not in {
        value_form(f"The key is {KEY}"),
        canonical_form(f"The key is {KEY}."),
    }
    assert value_form("The key is lost.") == canonical_form("the key is lost")


@pytest.mark.django_db
def test_every_version_has_the_digest_of_what_it_says():
    memory = make_memory(content="Lead is Tom.", payload_id="lead")
    relabel.carry_out(relabel.plan_one(memory.memory_id, relabel.Change(classification_tier="internal"), by=WRITER))
    make_memory(content="Lead is Ann.", payload_id="lead", tier="internal")

    found = Memory.objects.order_by("version").values_list("content", "value_sha256")
    assert [bytes(digest) for _, digest in found] == [value_digest(content) for content, _ in found]
    assert len(found) == 3


def test_rows_that_were_there_before_are_filled_whoever_may_see_them(django_db_blocker):
    with django_db_blocker.unblock(), world(migrated()) as made, made.entered():
        contents = {"plain": "Lead is Tom.", "key": f"The key is {KEY}.", "closed": "Zo\u0308e"}
        for name, content in contents.items():
            store([planted(payload_id=name, content=content, tier="restricted")])
        for content, day in (("Oslo", 1), ("berlin.", 2), ("Berlin", 3)):
            make_memory(subject="user:ada", collection="city", content=content, timestamp=f"2026-03-0{day}T12:00:00Z")
        carried_out(make_policy())
        with as_keeper():
            execute("UPDATE memories SET superseded_at = now() WHERE payload_id = 'closed'")
        call_command("migrate", "memories", "0014", verbosity=0, interactive=False)
        call_command("migrate", "memories", "0015", verbosity=0, interactive=False)
        with as_keeper():
            rows = execute("SELECT content, value_sha256, status, is_other_spelling FROM memories")

    assert {content for content, *_ in rows} == {*contents.values(), "Oslo", "berlin.", "Berlin"}
    assert all(bytes(digest) == value_digest(content) for content, digest, *_ in rows)
    marked = {content: is_marked for content, _, status, is_marked in rows if status == "retired"}
    assert marked == {"Oslo": False, "berlin.": True}
