"""One searched text per memory: its content with the secrets masked.

The column is filled for the rows that there are, versions of the past among them. Whoever changes what `masked` masks
adds a migration that does `operations[1:]` of this one again; a test notices.
"""

import django.contrib.postgres.indexes
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

from memoryhub.memories.models import TierGrams
from memoryhub.memories.suspicion import DISGUISES, DISGUISING, SECRET_FORMS, masked_or_none

BATCH = 500


def _in_sql(pattern: str) -> str:
    """A form of `suspicion` as PostgreSQL reads it: for whether it is there, possessive or not makes no difference."""
    for python, postgresql in (("++", "+"), ("*+", "*"), ("}+", "}"), (r"[\w-]", "[A-Za-z0-9_-]"), (r"\w", "[A-Za-z0-9_]")):
        pattern = pattern.replace(python, postgresql)
    return f"({pattern})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _undone(disguise: dict[int, int | None]) -> str:
    """`value` as it reads once the disguise is undone; what translate() has no counterpart for, it drops."""
    kept = {chr(code): chr(plain) for code, plain in disguise.items() if plain is not None}
    dropped = "".join(chr(code) for code, plain in disguise.items() if plain is None)
    return f"translate(value, {_quoted(''.join(kept) + dropped)}, {_quoted(''.join(kept.values()))})"


_FORM = _quoted("|".join(_in_sql(pattern) for _, pattern in SECRET_FORMS))
_UNDISGUISED = " OR ".join(f"{_undone(dict(disguise))} ~ {_FORM}" for disguise in DISGUISES)
CREATE = f"""
-- Whether memories/suspicion.py would mask something in a short text. It is asked after what else a filter asks for.
CREATE FUNCTION memory_holds_secret(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 10000
RETURN value ~ {_FORM} OR (value ~ '[{DISGUISING}]' AND ({_UNDISGUISED}));
"""
DROP = "DROP FUNCTION memory_holds_secret(text)"
_CANDIDATES = """
SELECT id, content FROM memories
WHERE id > %s AND (octet_length(content) <> length(content) OR content LIKE ANY (%s)) ORDER BY id LIMIT %s
"""
_FILL = """
UPDATE memories SET masked_content = filled.masked_content
FROM unnest(%s::bigint[], %s::text[]) AS filled(id, masked_content) WHERE memories.id = filled.id
"""


def fill(apps: object, schema_editor: object) -> None:
    """Mask the secrets of all rows. The trigger that refuses every change is not there meanwhile."""
    words = [f"%{word.replace('_', chr(92) + '_')}%" for word, _ in SECRET_FORMS]
    with schema_editor.connection.cursor() as cursor:
        # Row-level security binds the owner, too.
        cursor.execute("SELECT set_config('memoryhub.writes_as', '*', true)")
        last = 0
        while True:
            cursor.execute(_CANDIDATES, [last, words, BATCH])
            if not (rows := cursor.fetchall()):
                break
            last = rows[-1][0]
            found = {id_: shown for id_, content in rows if (shown := masked_or_none(content)) is not None}
            if found:
                cursor.execute(_FILL, [list(found), list(found.values())])
        cursor.execute("SELECT set_config('memoryhub.writes_as', '', true)")


class Migration(migrations.Migration):
    dependencies = [("memories", "0010_last_sent")]

    operations = [
        migrations.AddField(
            model_name='memory',
            name='masked_content',
            field=models.TextField(blank=True, help_text='The content with its secrets masked, which is what searches read; null where it holds none.', null=True),
        ),
        migrations.RunSQL(CREATE, DROP),
        pgtrigger.migrations.RemoveTrigger(model_name='memory', name='append_only'),
        migrations.RemoveIndex(model_name='memory', name='memories_grams'),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('masked_content__isnull', False)), fields=['classification_tier', 'timestamp', 'memory_id'], name='memories_secret'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=django.contrib.postgres.indexes.GinIndex(TierGrams(models.Case(models.When(masked_content__isnull=True, then=models.F('content')), default=models.F('masked_content')), models.F('classification_tier')), condition=models.Q(('schema_version__gte', 1)), gin_pending_list_limit=16384, name='memories_grams'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memory',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE expected memories%ROWTYPE;', func="\n        expected := OLD;\n        expected.content_sha256 := NEW.content_sha256;\n        expected.search := NEW.search;\n        expected.foretold := NEW.foretold;\n        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN\n            NEW.superseded_at := record_instant();\n            expected.superseded_at := NEW.superseded_at;\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        IF NEW.status = 'erased' THEN\n            expected.status := 'erased';\n            expected.content := '';\n            expected.masked_content := NULL;\n            expected.embedding := NULL;\n            expected.metadata := '{}';\n            expected.propagation := NULL;\n            expected.fingerprint := '';\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'\n            USING ERRCODE = 'integrity_constraint_violation';\n    ", hash='c6d9a5d47d771db4ba669a09eacd0b314cd13bfb', operation='UPDATE', pgid='pgtrigger_append_only_93bab', table='memories', when='BEFORE')),
        ),
    ]
