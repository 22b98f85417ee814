"""Of what was retired before this, and is classified otherwise than its source sent it, nothing is known: it is marked.

Rows are changed as in 0015: their owner sets aside meanwhile that a memory may not be changed.
"""

from django.db import migrations, models

MARK = """
UPDATE memories SET decided_beyond_source = true
WHERE status = 'retired' AND decision IS NOT NULL AND (
    namespace <> sent_namespace OR classification_tier <> sent_tier OR sensitivity_labels <> sent_labels
)
"""


def mark(apps, schema_editor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories DISABLE TRIGGER USER")
        # Row-level security binds the owner, too.
        cursor.execute("SELECT set_config('memoryhub.writes_as', '*', true)")
        cursor.execute(MARK)
        cursor.execute("SELECT set_config('memoryhub.writes_as', '', true)")
        cursor.execute("ALTER TABLE memories ENABLE TRIGGER USER")


class Migration(migrations.Migration):
    dependencies = [("memories", "0018_settle_read_only")]

    operations = [
        migrations.AddField(
            model_name="memory",
            name="decided_beyond_source",
            field=models.BooleanField(default=False, help_text="The decision that retired it was made on something that its source, which knows it as it was sent, may not see: nothing that the source writes is rejected because of it."),
        ),
        migrations.RunPython(mark, migrations.RunPython.noop),
    ]
