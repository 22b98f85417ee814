"""`manage.py audit`: whoever touches the ledger is found out, and the first touched entry is named (AU-02)."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from memoryhub.audit import ledger
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import CHUNK, Broken, verify
from memoryhub.config import Config
from memoryhub.firewall import wall
from memoryhub.ops import first_start
from tests.audit.entries import append, chain, event, tampering
from tests.builders import make_key, make_memory
from tests.memories.rows import execute, insert

pytestmark = pytest.mark.django_db

EDITS = {
    "at": "at + interval '1 microsecond'",
    "principal": "'user:eve'",
    "action": "'memory.read'",
    "route": "'x'",
    "query": "''",
    "memory_ids": "memory_ids[1:1]",
    "details": "details || '{\"place\": 1.0}'",
    "request_id": "'x'",
    "reach_tiers": "'{public}'",
    "reach_blocked": "'{}'",
    "reach_required": "'{NULL}'",
    "reach_namespaces": "NULL",
    "previous_hash": "sha256(previous_hash)",
    "hash": "sha256(hash)",
}
STRANGE = {
    "at is no instant": "at = 'infinity'",
    "at is before our era": "at = '4000-01-01 BC'",
    "details are no object": "details = '[]'",
    "details are a number that Python reads no more": "details = to_jsonb(repeat('9', 5000)::numeric)",
    "details are too deep": "details = (repeat('[', 5000) || repeat(']', 5000))::jsonb",
    "an array is in another order": "memory_ids = ARRAY[memory_ids[2], memory_ids[1]]",
    "an array has another shape": "memory_ids = ARRAY[memory_ids]",
    "two texts changed places": "route = query, query = route",
}


def audit(*arguments: str) -> str:
    out = StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def found() -> Broken:
    with pytest.raises(Broken) as caught:
        verify()
    return caught.value


def move_head() -> None:
    """As somebody would who knows how it works."""
    execute(
        "UPDATE audit_head SET (seq, hash) ="
        " (SELECT coalesce(max(seq), 0), coalesce((array_agg(hash ORDER BY seq DESC))[1], %s) FROM audit_entries)",
        bytes(32),
    )


def test_a_whole_ledger_is_whole():
    assert verify().seq == 0
    assert verify() == chain(0)
    head = chain(7)
    assert verify() == head == append()


def test_a_ledger_is_read_in_more_than_one_part():
    head = append(*(event() for _ in range(CHUNK + 1)))

    assert verify() == head
    with tampering():
        execute("UPDATE audit_entries SET query = 'x' WHERE seq = %s", CHUNK + 1)
    assert found().seq == CHUNK + 1


def test_every_column_is_tried():
    assert {field.column for field in AuditEntry._meta.concrete_fields} == {*EDITS, "seq"}


@pytest.mark.parametrize("column", sorted(EDITS))
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_an_edit_is_found(column, seq):
    chain(5)
    with tampering():
        execute(
            f"UPDATE audit_entries SET {column} = {EDITS[column]} WHERE seq >= %s AND seq < 5 OR seq = %s", seq, seq
        )

    assert (found().seq, str(found())) == (seq, f"entry {seq} was changed")


@pytest.mark.parametrize("edit", STRANGE.values(), ids=STRANGE)
def test_a_row_that_no_hub_would_write_is_found_and_named(edit):
    chain(4)
    with tampering():
        execute(f"UPDATE audit_entries SET {edit} WHERE seq = 3")

    assert (found().seq, str(found())) == (3, "entry 3 was changed")


def test_an_edit_with_a_hash_to_match_is_found_where_the_next_entry_does_not_follow():
    chain(4)
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq = 2")
        _forge(seq=2, previous_hash=_hash(1))

    assert (found().seq, str(found())) == (3, "entry 3 does not follow the entry before it")


@pytest.mark.parametrize("seq", [1, 3, 4])
def test_a_deletion_is_found(seq):
    chain(5)
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq = %s", seq)

    assert str(found()) == f"entry {seq} is missing"


def test_a_deletion_that_closes_the_gap_is_found():
    chain(5)
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq = 2")
        execute("UPDATE audit_entries SET seq = seq - 1 WHERE seq > 2")
        move_head()

    assert str(found()) == "entry 2 was changed"


def test_an_insertion_that_makes_room_is_found():
    chain(5)
    with tampering():
        execute("UPDATE audit_entries SET seq = seq + 100 WHERE seq >= 3")
        execute("UPDATE audit_entries SET seq = seq - 99 WHERE seq > 100")
        _forge(seq=3, previous_hash=_hash(2))

    assert str(found()) == "entry 4 was changed"


def test_an_insertion_after_the_last_is_found():
    head = chain(5)
    with tampering():
        _forge(seq=6, previous_hash=head.hash.hex())

    assert str(found()) == "entry 6 was inserted after the head"


@pytest.mark.parametrize("seq", [0, -1])
def test_an_insertion_before_the_first_is_found(seq):
    head = chain(2)
    with tampering():
        execute("ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_count_from_one")
        _forge(seq=seq, previous_hash=head.hash.hex())

    assert str(found()) == f"entry {seq} was inserted"


def test_a_second_entry_in_the_place_of_one_is_found():
    chain(3)
    with tampering():
        execute("ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_pkey")
        _forge(seq=3, previous_hash=_hash(2))

    assert found().seq == 3


def test_a_swap_is_found():
    chain(5)
    with tampering():
        execute("UPDATE audit_entries SET seq = 100 WHERE seq = 2")
        execute("UPDATE audit_entries SET seq = 2 WHERE seq = 4")
        execute("UPDATE audit_entries SET seq = 4 WHERE seq = 100")

    assert str(found()) == "entry 2 was changed"


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_tail_that_is_cut_off_is_found_by_the_head(left):
    chain(5)
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq > %s", left)

    assert str(found()) == f"entry {left + 1} is missing: the head says that there are 5"


def test_a_head_of_another_chain_is_found():
    chain(3)
    execute("UPDATE audit_head SET hash = sha256(hash)")
    assert str(found()) == "entry 3 is not the one that the head tells of"

    execute("DELETE FROM audit_head")
    assert found().seq == 3


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_tail_that_is_cut_off_with_its_head_is_found_by_the_head_that_was_kept(left, tmp_path):
    chain(5)
    kept = tmp_path / "head"
    kept.write_text(audit("head"))
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq > %s", left)
        move_head()
    verify()

    with pytest.raises(CommandError) as caught:
        audit("verify", "--head", str(kept))

    assert caught.value.returncode == 1
    assert f"entry {left + 1} is missing: what was kept says that there are 5" in str(caught.value)


def test_a_chain_that_was_written_anew_is_found_by_the_first_head_that_was_kept_after_it(tmp_path):
    kept = tmp_path / "heads"
    with kept.open("a") as file:
        for _ in range(4):
            chain(2)
            file.write(audit("head"))
    with tampering():
        execute("DELETE FROM audit_entries WHERE seq > 3")
        move_head()
    chain(9)
    verify()

    with pytest.raises(CommandError, match="entry 4 is not the one that was kept"):
        audit("verify", "--head", str(kept))


def test_heads_that_were_kept_stay_true_while_the_ledger_grows(tmp_path):
    kept = tmp_path / "heads"
    kept.write_text(audit("head"))
    with kept.open("a") as file:
        for _ in range(3):
            head = chain(2)
            file.write(audit("head"))
    chain(1)

    assert json.loads(kept.read_text().splitlines()[-1]) == {"seq": 6, "hash": head.hash.hex()}
    assert "The ledger is whole: 7 entries" in audit("verify", "--head", str(kept))


def test_the_command_tells_of_an_empty_ledger_and_names_a_broken_entry():
    assert "The ledger is whole: 0 entries" in audit("verify")
    assert json.loads(audit("head")) == {"seq": 0, "hash": "0" * 64}
    assert audit("export") == ""
    chain(3)
    with tampering():
        execute("UPDATE audit_entries SET principal = 'user:eve' WHERE seq = 2")

    with pytest.raises(CommandError) as caught:
        audit("verify")

    assert (str(caught.value), caught.value.returncode) == ("The ledger is broken: entry 2 was changed.", 1)


IN_USE: dict[str, Callable[[], object]] = {
    "a memory": make_memory,
    "a memory of a tier that is no longer set": lambda: insert(classification_tier="former"),
    "a key": make_key,
    "a decision": lambda: execute(
        'INSERT INTO decisions (decision_id, outcome, subject, collection, memory_ids, kept, retired, "left", settled,'
        " validity, evidence, reason, principal, rule, tiers, some_labels, all_labels, namespaces) VALUES ("
        " gen_random_uuid(), 'defer', 's', 'c', '{}', '{}', '{}', '{}', '{}', '{}', '', 'why', 'user:ada', '', '{}',"
        " '{}', '{}', '{}')"
    ),
}


@pytest.mark.parametrize("head_is_gone", [True, False])
@pytest.mark.parametrize("make", IN_USE.values(), ids=IN_USE)
def test_a_ledger_that_was_emptied_is_broken_where_something_is_there_that_it_must_tell_of(make, head_is_gone):
    with wall.writing(None):
        make()
    chain(2)
    with tampering():
        execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        execute("TRUNCATE audit_entries, audit_head" if head_is_gone else "TRUNCATE audit_entries")
        move_head()

    with pytest.raises(CommandError) as caught:
        audit("verify")

    assert (str(caught.value), caught.value.returncode) == (
        "The ledger is broken: entry 1 is missing: there are memories, decisions or keys, and the ledger is empty.",
        1,
    )


def test_a_hub_that_was_started_for_the_first_time_is_whole(tmp_path):
    """It has keys, and so it needs entries."""
    first_start.prepare(Config(home=tmp_path, database_url=None, demo=False), "http://127.0.0.1:8000")

    assert "The ledger is whole: " in audit("verify")
    assert AuditEntry.objects.filter(action="key.create", principal="system:first-start").count() >= 3


@pytest.mark.parametrize("text", ["{", "[1]", '{"seq": "x", "hash": ""}', '{"seq": 1}', "\x00"])
def test_a_file_that_holds_no_heads_is_refused(tmp_path, text):
    kept = tmp_path / "heads"
    kept.write_text(text)

    with pytest.raises(CommandError, match="does not hold"):
        audit("verify", "--head", str(kept))
    with pytest.raises(CommandError, match="cannot be read"):
        audit("verify", "--head", str(tmp_path / "nothing"))


def test_the_export_holds_every_entry_in_order():
    head = chain(3)

    lines = [json.loads(line) for line in audit("export").splitlines()]

    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["previous_hash"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert (lines[-1]["hash"], lines[0]["details"]["place"]) == (head.hash.hex(), 0)


def _hash(seq: int) -> str:
    return bytes(AuditEntry.objects.get(seq=seq).hash).hex()


def _forge(*, seq: int, previous_hash: str) -> None:
    """An entry that is right in itself, computed as the hub would, by somebody who puts it in by hand."""
    forger = ledger.Head(seq=seq - 1, hash=bytes.fromhex(previous_hash))
    at = AuditEntry.objects.order_by("-seq")[0].at
    row = ledger._in_sql(ledger._row(event(principal="user:eve"), forger, at))
    execute(
        "INSERT INTO audit_entries SELECT * FROM json_populate_recordset(NULL::audit_entries, %s)", json.dumps([row])
    )
