"""Compare the labels of rows that are stored already as labels are compared now.

Two spellings that were two labels may be one now, so tallies are merged. A memory may not be changed in place, and a
tally not be deleted: for the length of this transaction, in which nobody else reads or writes these tables, the owner
sets both rules aside. Going back leaves the keys, which are keys to the code before this, too; there a clearance finds
them only in their own spelling, so clearances are spelled so.
"""

import json
from collections.abc import Iterator

import django.contrib.postgres.fields
from django.db import migrations, models

from memoryhub.firewall.types import label_keys

BATCH = 10_000
TALLIES = {
    "memory_counts": (
        "namespace", "classification_tier", "label_keys", "source", "actor_type", "collection", "kind", "status",
    ),
    "memory_days": ("namespace", "classification_tier", "label_keys", "source", "actor_type", "status", "day"),
    "memory_totals": ("classification_tier", "label_keys", "status", "dimension", "value"),
}
TABLES = ("memories", *TALLIES)

# A key in printable ASCII without a space is the key of all its labels as before.
CANDIDATES = """
SELECT id, sensitivity_labels, label_keys FROM memories
WHERE id > %s AND label_keys::text COLLATE "C" ~ '[^!-~]' ORDER BY id LIMIT %s
"""
CHANGE = """
UPDATE memories AS m SET label_keys = n.label_keys
FROM jsonb_to_recordset(%s) AS n(id bigint, label_keys varchar[]) WHERE m.id = n.id
"""
# A new key is its own key, so no tally that is moved is one that others are moved to.
MERGE = """
WITH moved AS (
    DELETE FROM {table} AS t USING jsonb_to_recordset(%s) AS n(before varchar[], after varchar[])
    WHERE t.label_keys = n.before RETURNING t.*, n.after
)
INSERT INTO {table} AS t (key, {columns}, count, written)
SELECT md5(jsonb_build_array({values})::text)::uuid, {values}, sum(count), sum(written) FROM moved GROUP BY {values}
ON CONFLICT (key) DO UPDATE SET count = t.count + excluded.count, written = t.written + excluded.written
"""


def compare_anew(apps, schema_editor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories DISABLE TRIGGER USER")
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        moved: dict[tuple[str, ...], list[str]] = {}
        for rows in changed_rows(cursor):
            cursor.execute(CHANGE, [json.dumps([{"id": row, "label_keys": after} for row, _, after in rows])])
            moved |= {tuple(before): after for _, before, after in rows}
        merge_tallies(cursor, moved)
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        cursor.execute("ALTER TABLE memories ENABLE TRIGGER USER")


def changed_rows(cursor) -> Iterator[list[tuple[int, list[str], list[str]]]]:
    """The rows whose keys are others now, with the keys before and after, in batches."""
    last = 0
    while True:
        cursor.execute(CANDIDATES, [last, BATCH])
        found = cursor.fetchall()
        if not found:
            return
        last = found[-1][0]
        compared = [(row, before, sorted(label_keys(labels))) for row, labels, before in found]
        yield [(row, before, after) for row, before, after in compared if before != after]


def merge_tallies(cursor, moved: dict[tuple[str, ...], list[str]]) -> None:
    pairs = [{"before": list(before), "after": after} for before, after in moved.items()]
    for start in range(0, len(pairs), BATCH):
        for table, columns in TALLIES.items():
            values = ["after" if column == "label_keys" else column for column in columns]
            merge = MERGE.format(table=table, columns=", ".join(columns), values=", ".join(values))
            cursor.execute(merge, [json.dumps(pairs[start : start + BATCH])])


def spell_clearances(apps, schema_editor) -> None:
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        if "clearances" not in connection.introspection.table_names(cursor):
            return
        cursor.execute("SELECT id, blocked_labels, required_labels FROM clearances")
        for clearance, blocked, required in cursor.fetchall():
            cursor.execute(
                "UPDATE clearances SET blocked_labels = %s, required_labels = %s WHERE id = %s",
                [sorted(label_keys(blocked)), sorted(label_keys(required)), clearance],
            )


class Migration(migrations.Migration):
    dependencies = [("memories", "0012_tier_led_lookups")]
    operations = [
        migrations.AlterField(
            model_name="memory",
            name="label_keys",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=765),
                blank=True,
                default=list,
                help_text="The labels as they are compared (firewall.types.label_key), sorted, each once.",
                size=None,
            ),
        ),
        migrations.RunPython(compare_anew, spell_clearances),
    ]
