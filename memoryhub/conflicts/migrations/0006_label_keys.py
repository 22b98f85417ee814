"""Compare the labels of decisions and of policy runs as labels are compared now.

Which labels the members of a decision had is stored in the compared form alone, and that form has a key of its own.
A label that all members had in different spellings is not found that way: such a decision stays hidden from those who
need it. Decisions may not be changed: for the length of this transaction their owner sets that rule aside. Entries of
the audit log are chained by their hashes and stay as they are; one whose labels are spelled otherwise than their keys
is hidden from readers for whom these labels are blocked or required.
"""

import json

from django.db import migrations

from memoryhub.firewall.types import label_keys

BATCH = 10_000
CANDIDATES = """
SELECT id, some_labels, all_labels FROM decisions
WHERE id > %s AND some_labels::text COLLATE "C" ~ '[^!-~]' ORDER BY id LIMIT %s
"""
CHANGE = """
UPDATE decisions AS d SET some_labels = n.some_labels, all_labels = n.all_labels
FROM jsonb_to_recordset(%s) AS n(id bigint, some_labels varchar[], all_labels varchar[]) WHERE d.id = n.id
"""
RUNS = """
SELECT run_id, reach_blocked, reach_required FROM policy_runs
WHERE (reach_blocked || reach_required)::text COLLATE "C" ~ '[^!-~]'
"""


def compare_anew(apps, schema_editor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE decisions DISABLE TRIGGER USER")
        cursor.execute("ALTER TABLE decisions NO FORCE ROW LEVEL SECURITY")
        change_decisions(cursor)
        cursor.execute("ALTER TABLE decisions FORCE ROW LEVEL SECURITY")
        cursor.execute("ALTER TABLE decisions ENABLE TRIGGER USER")
        cursor.execute(RUNS)
        for run, *reach in cursor.fetchall():
            if (after := list(map(keys, reach))) != reach:
                cursor.execute(
                    "UPDATE policy_runs SET reach_blocked = %s, reach_required = %s WHERE run_id = %s", [*after, run]
                )


def change_decisions(cursor) -> None:
    last = 0
    while True:
        cursor.execute(CANDIDATES, [last, BATCH])
        found = cursor.fetchall()
        if not found:
            return
        last = found[-1][0]
        changed = [
            {"id": row, "some_labels": keys(some), "all_labels": keys(every)}
            for row, some, every in found
            if (keys(some), keys(every)) != (some, every)
        ]
        cursor.execute(CHANGE, [json.dumps(changed)])


def keys(labels: list[str]) -> list[str]:
    return sorted(label_keys(labels))


class Migration(migrations.Migration):
    dependencies = [("conflicts", "0005_claims_coexist")]
    operations = [migrations.RunPython(compare_anew, migrations.RunPython.noop)]
