"""Which contents are one value, stored beside them: a digest of what each row says in its canonical form.

All rows are filled, versions of the past among them; their owner sets aside meanwhile that a memory may not be changed.
Whoever changes what `memories.values.value_digest` makes of a text adds a migration that does `fill` of this one again.

What decisions retired before this, though they keep the same value in another spelling, is marked as that. Which value
they keep is told by any version of what they keep: where one was changed since, fewer texts are taken for rejected.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

from memoryhub.memories.values import value_digest

BATCH = 1_000
ROWS = "SELECT id, content FROM memories WHERE id > %s AND status <> 'erased' ORDER BY id LIMIT %s"
CHANGE = """
UPDATE memories SET value_sha256 = filled.value_sha256
FROM unnest(%s::bigint[], %s::bytea[]) AS filled(id, value_sha256) WHERE memories.id = filled.id
"""
MARK = """
UPDATE memories AS lost SET is_other_spelling = true
FROM decisions AS d, memories AS kept
WHERE lost.decision = d.decision_id AND lost.status = 'retired' AND kept.memory_id = ANY (d.kept || d.merged)
  AND kept.memory_id <> lost.memory_id AND kept.value_sha256 = lost.value_sha256
  AND kept.subject = lost.subject AND kept.collection = lost.collection
"""


def fill(apps, schema_editor) -> None:
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories DISABLE TRIGGER USER")
        # Row-level security binds the owner, too.
        cursor.execute("SELECT set_config('memoryhub.writes_as', '*', true)")
        last = 0
        while True:
            cursor.execute(ROWS, [last, BATCH])
            if not (rows := cursor.fetchall()):
                break
            last = rows[-1][0]
            cursor.execute(CHANGE, [[row for row, _ in rows], [value_digest(content) for _, content in rows]])
        if "decisions" in connection.introspection.table_names(cursor):
            cursor.execute(MARK)
        cursor.execute("SELECT set_config('memoryhub.writes_as', '', true)")
        cursor.execute("ALTER TABLE memories ENABLE TRIGGER USER")


class Migration(migrations.Migration):
    dependencies = [("memories", "0014_quarantine_row_security")]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='memory',
            name='append_only',
        ),
        migrations.RemoveIndex(model_name="memory", name="memories_rejected"),
        migrations.AddField(
            model_name="memory",
            name="is_other_spelling",
            field=models.BooleanField(default=False, help_text="The decision that retired it keeps the same value in another spelling: this text alone is rejected."),
        ),
        # Of an erased row it is empty, as the fingerprint is.
        migrations.AddField(
            model_name="memory",
            name="value_sha256",
            field=models.BinaryField(default=b"", help_text="SHA-256 over what it says as a value (memories.values): all spellings of one value have the same."),
            preserve_default=False,
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(condition=models.Q(("superseded_at__isnull", True), ("decision__isnull", False), ("status", "retired"), ("version__gte", 1)), fields=["subject", "collection", "value_sha256"], name="memories_rejected"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memory',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE expected memories%ROWTYPE;', func="\n        expected := OLD;\n        expected.content_sha256 := NEW.content_sha256;\n        expected.search := NEW.search;\n        expected.foretold := NEW.foretold;\n        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN\n            NEW.superseded_at := record_instant();\n            expected.superseded_at := NEW.superseded_at;\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        IF NEW.status = 'erased' THEN\n            NEW.value_sha256 := '';\n            expected.value_sha256 := '';\n            expected.status := 'erased';\n            expected.content := '';\n            expected.masked_content := NULL;\n            expected.embedding := NULL;\n            expected.metadata := '{}';\n            expected.propagation := NULL;\n            expected.fingerprint := '';\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'\n            USING ERRCODE = 'integrity_constraint_violation';\n    ", hash='ae8d468af8e15fc3309cc9c5eb856ea31d86460f', operation='UPDATE', pgid='pgtrigger_append_only_93bab', table='memories', when='BEFORE')),
        ),
    ]
