"""`manage.py audit`: a change of the audit log is detected, and the first touched entry is named (AU-02)."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from memoryhub.audit import log
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import BATCH_SIZE, ChainBrokenError, verify_chain
from memoryhub.config import Config
from memoryhub.firewall import rls
from memoryhub.operations import bootstrap
from tests.audit.event_factories import allow_tampering, append_chain, append_events, make_event
from tests.factories import make_key, make_memory
from tests.memories.raw_rows import execute, insert_whole_row

pytestmark = pytest.mark.django_db

TAMPERED_FIELDS = {
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "principal": "'user:eve'",
    "action": "'memory.read'",
    "route": "'x'",
    "query": "''",
    "memory_ids": "memory_ids[1:1]",
    "details": "details || '{\"place\": 1.0}'",
    "request_id": "'x'",
    "clearance_tiers": "'{public}'",
    "clearance_blocked_labels": "'{}'",
    "clearance_required_labels": "'{NULL}'",
    "clearance_namespaces": "NULL",
    "previous_hash": "sha256(previous_hash)",
    "hash": "sha256(hash)",
}
INVALID_HEADS = {
    "occurred_at is no instant": "occurred_at = 'infinity'",
    "occurred_at is before our era": "occurred_at = '4000-01-01 BC'",
    "details are no object": "details = '[]'",
    "details are a number that Python reads no more": "details = to_jsonb(repeat('9', 5000)::numeric)",
    "details are too deep": "details = (repeat('[', 5000) || repeat(']', 5000))::jsonb",
    "an array is in another order": "memory_ids = ARRAY[memory_ids[2], memory_ids[1]]",
    "an array has another shape": "memory_ids = ARRAY[memory_ids]",
    "two texts changed places": "route = query, query = route",
}


def run_audit_command(*arguments: str) -> str:
    out = StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def find_break() -> ChainBrokenError:
    with pytest.raises(ChainBrokenError) as exc_info:
        verify_chain()
    return exc_info.value


def advance_head() -> None:
    """As somebody would who knows how it works."""
    execute(
        "UPDATE audit_chain_head SET (seq, hash) ="
        " (SELECT coalesce(max(seq), 0), coalesce((array_agg(hash ORDER BY seq DESC))[1], %s) FROM audit_entries)",
        bytes(32),
    )


def test_an_unchanged_audit_log_verifies():
    assert verify_chain().seq == 0
    assert verify_chain() == append_chain(0)
    head = append_chain(7)
    assert verify_chain() == head == append_events()


def test_an_audit_log_is_read_in_more_than_one_batch():
    head = append_events(*(make_event() for _ in range(BATCH_SIZE + 1)))

    assert verify_chain() == head
    with allow_tampering():
        execute("UPDATE audit_entries SET query = 'x' WHERE seq = %s", BATCH_SIZE + 1)
    assert find_break().seq == BATCH_SIZE + 1


def test_every_column_is_tried():
    assert {field.column for field in AuditEntry._meta.concrete_fields} == {*TAMPERED_FIELDS, "seq"}


@pytest.mark.parametrize("column", sorted(TAMPERED_FIELDS))
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_an_edit_is_found(column, seq):
    append_chain(5)
    with allow_tampering():
        execute(
            f"UPDATE audit_entries SET {column} = {TAMPERED_FIELDS[column]} WHERE seq >= %s AND seq < 5 OR seq = %s",
            seq,
            seq,
        )

    assert (find_break().seq, str(find_break())) == (seq, f"entry {seq} was changed")


@pytest.mark.parametrize("edit", INVALID_HEADS.values(), ids=INVALID_HEADS)
def test_a_row_that_no_hub_would_write_is_found_and_named(edit):
    append_chain(4)
    with allow_tampering():
        execute(f"UPDATE audit_entries SET {edit} WHERE seq = 3")

    assert (find_break().seq, str(find_break())) == (3, "entry 3 was changed")


def test_an_edit_with_a_hash_to_match_is_found_where_the_next_entry_does_not_follow():
    append_chain(4)
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq = 2")
        _insert_forged_entry(seq=2, previous_hash=_entry_hash(1))

    assert (find_break().seq, str(find_break())) == (3, "entry 3 does not follow the entry before it")


@pytest.mark.parametrize("seq", [1, 3, 4])
def test_a_deletion_is_found(seq):
    append_chain(5)
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq = %s", seq)

    assert str(find_break()) == f"entry {seq} is missing"


def test_a_deletion_that_closes_the_gap_is_found():
    append_chain(5)
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq = 2")
        execute("UPDATE audit_entries SET seq = seq - 1 WHERE seq > 2")
        advance_head()

    assert str(find_break()) == "entry 2 was changed"


def test_an_insertion_that_makes_room_is_found():
    append_chain(5)
    with allow_tampering():
        execute("UPDATE audit_entries SET seq = seq + 100 WHERE seq >= 3")
        execute("UPDATE audit_entries SET seq = seq - 99 WHERE seq > 100")
        _insert_forged_entry(seq=3, previous_hash=_entry_hash(2))

    assert str(find_break()) == "entry 4 was changed"


def test_an_insertion_after_the_last_is_found():
    head = append_chain(5)
    with allow_tampering():
        _insert_forged_entry(seq=6, previous_hash=head.hash.hex())

    assert str(find_break()) == "entry 6 was inserted after the head"


@pytest.mark.parametrize("seq", [0, -1])
def test_an_insertion_before_the_first_is_found(seq):
    head = append_chain(2)
    with allow_tampering():
        execute("ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_seq_positive")
        _insert_forged_entry(seq=seq, previous_hash=head.hash.hex())

    assert str(find_break()) == f"entry {seq} was inserted"


def test_a_second_entry_in_the_place_of_one_is_found():
    append_chain(3)
    with allow_tampering():
        execute("ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_pkey")
        _insert_forged_entry(seq=3, previous_hash=_entry_hash(2))

    assert find_break().seq == 3


def test_a_swap_is_found():
    append_chain(5)
    with allow_tampering():
        execute("UPDATE audit_entries SET seq = 100 WHERE seq = 2")
        execute("UPDATE audit_entries SET seq = 2 WHERE seq = 4")
        execute("UPDATE audit_entries SET seq = 4 WHERE seq = 100")

    assert str(find_break()) == "entry 2 was changed"


@pytest.mark.parametrize("remaining", [0, 1, 4])
def test_a_tail_that_is_cut_off_is_found_by_the_head(remaining):
    append_chain(5)
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq > %s", remaining)

    assert str(find_break()) == f"entry {remaining + 1} is missing: the head says that there are 5"


def test_a_head_of_another_chain_is_found():
    append_chain(3)
    execute("UPDATE audit_chain_head SET hash = sha256(hash)")
    assert str(find_break()) == "entry 3 is not the one that the head records"

    execute("DELETE FROM audit_chain_head")
    assert find_break().seq == 3


@pytest.mark.parametrize("remaining", [0, 1, 4])
def test_a_tail_that_is_cut_off_with_its_head_is_found_by_the_head_that_was_kept(remaining, tmp_path):
    append_chain(5)
    head_file = tmp_path / "head"
    head_file.write_text(run_audit_command("head"))
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq > %s", remaining)
        advance_head()
    verify_chain()

    with pytest.raises(CommandError) as exc_info:
        run_audit_command("verify", "--head", str(head_file))

    assert exc_info.value.returncode == 1
    assert f"entry {remaining + 1} is missing: the known hashes say that there are 5" in str(exc_info.value)


def test_a_chain_that_was_written_anew_is_found_by_the_first_head_that_was_kept_after_it(tmp_path):
    heads_file = tmp_path / "heads"
    with heads_file.open("a") as file:
        for _ in range(4):
            append_chain(2)
            file.write(run_audit_command("head"))
    with allow_tampering():
        execute("DELETE FROM audit_entries WHERE seq > 3")
        advance_head()
    append_chain(9)
    verify_chain()

    with pytest.raises(CommandError, match="entry 4 is not the one in the known hashes"):
        run_audit_command("verify", "--head", str(heads_file))


def test_recorded_heads_stay_valid_while_the_audit_log_grows(tmp_path):
    heads_file = tmp_path / "heads"
    heads_file.write_text(run_audit_command("head"))
    with heads_file.open("a") as file:
        for _ in range(3):
            head = append_chain(2)
            file.write(run_audit_command("head"))
    append_chain(1)

    assert json.loads(heads_file.read_text().splitlines()[-1]) == {"seq": 6, "hash": head.hash.hex()}
    assert "The audit log is intact: 7 entries" in run_audit_command("verify", "--head", str(heads_file))


def test_the_command_reports_an_empty_audit_log_and_names_a_broken_entry():
    assert "The audit log is intact: 0 entries" in run_audit_command("verify")
    assert json.loads(run_audit_command("head")) == {"seq": 0, "hash": "0" * 64}
    assert run_audit_command("export") == ""
    append_chain(3)
    with allow_tampering():
        execute("UPDATE audit_entries SET principal = 'user:eve' WHERE seq = 2")

    with pytest.raises(CommandError) as exc_info:
        run_audit_command("verify")

    assert (str(exc_info.value), exc_info.value.returncode) == ("The audit log is broken: entry 2 was changed.", 1)


DATA_MAKERS: dict[str, Callable[[], object]] = {
    "a memory": make_memory,
    "a memory of a tier that is no longer set": lambda: insert_whole_row(classification_tier="former"),
    "a key": make_key,
    "a decision": lambda: execute(
        "INSERT INTO decisions (decision_id, outcome, subject, collection, memory_ids, kept_ids, retired_ids,"
        " still_active_ids, accepted_hashes,"
        " validity, evidence, reason, principal, rule, tiers, any_labels, common_labels, namespaces) VALUES ("
        " gen_random_uuid(), 'defer', 's', 'c', '{}', '{}', '{}', '{}', '{}', '{}', '', 'why', 'user:ada', '', '{}',"
        " '{}', '{}', '{}')"
    ),
}


@pytest.mark.parametrize("head_is_gone", [True, False])
@pytest.mark.parametrize("make_data", DATA_MAKERS.values(), ids=DATA_MAKERS)
def test_an_emptied_audit_log_is_broken_if_there_is_data_that_it_must_have_recorded(make_data, head_is_gone):
    with rls.as_writer(None):
        make_data()
    append_chain(2)
    with allow_tampering():
        execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        execute("TRUNCATE audit_entries, audit_chain_head" if head_is_gone else "TRUNCATE audit_entries")
        advance_head()

    with pytest.raises(CommandError) as exc_info:
        run_audit_command("verify")

    assert (str(exc_info.value), exc_info.value.returncode) == (
        "The audit log is broken: entry 1 is missing: there are memories, decisions or keys, and the audit log is"
        " empty.",
        1,
    )


def test_a_hub_that_was_started_for_the_first_time_is_whole(tmp_path):
    """It has keys, and so it needs entries."""
    bootstrap.initialize_hub(Config(home=tmp_path, database_url=None, demo=False), "http://127.0.0.1:8000")

    assert "The audit log is intact: " in run_audit_command("verify")
    assert AuditEntry.objects.filter(action="key.create", principal="system:bootstrap").count() >= 3


@pytest.mark.parametrize("text", ["{", "[1]", '{"seq": "x", "hash": ""}', '{"seq": 1}', "\x00"])
def test_a_file_that_holds_no_heads_is_refused(tmp_path, text):
    heads_file = tmp_path / "heads"
    heads_file.write_text(text)

    with pytest.raises(CommandError, match="does not contain"):
        run_audit_command("verify", "--head", str(heads_file))
    with pytest.raises(CommandError, match="cannot be read"):
        run_audit_command("verify", "--head", str(tmp_path / "nothing"))


def test_the_export_holds_every_entry_in_order():
    head = append_chain(3)

    lines = [json.loads(line) for line in run_audit_command("export").splitlines()]

    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["previous_hash"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert (lines[-1]["hash"], lines[0]["details"]["place"]) == (head.hash.hex(), 0)


def _entry_hash(seq: int) -> str:
    return bytes(AuditEntry.objects.get(seq=seq).hash).hex()


def _insert_forged_entry(*, seq: int, previous_hash: str) -> None:
    """An entry that is right in itself, computed as the hub would, by somebody who puts it in by hand."""
    forger = log.ChainHead(seq=seq - 1, hash=bytes.fromhex(previous_hash))
    occurred_at = AuditEntry.objects.order_by("-seq")[0].occurred_at
    row = log._to_sql_row(log._build_row(make_event(principal="user:eve"), forger, occurred_at))
    execute(
        "INSERT INTO audit_entries SELECT * FROM json_populate_recordset(NULL::audit_entries, %s)", json.dumps([row])
    )
