"""A decision that comes from another hub keeps the time at which it was made; when this hub came to know is another time.

Of those that exist both are the same. Decisions may not be changed: for the length of this transaction their owner sets
that rule aside.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


ADD = """
ALTER TABLE decisions DISABLE TRIGGER USER;
ALTER TABLE decisions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE decisions ADD COLUMN recorded_at timestamptz;
UPDATE decisions SET recorded_at = at;
ALTER TABLE decisions ALTER COLUMN recorded_at SET NOT NULL;
ALTER TABLE decisions FORCE ROW LEVEL SECURITY;
ALTER TABLE decisions ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conflicts', '0006_label_keys'),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='decision',
            name='stamp',
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, "ALTER TABLE decisions DROP COLUMN recorded_at")],
            state_operations=[
                migrations.AddField(
                    model_name='decision',
                    name='recorded_at',
                    field=models.DateTimeField(default=None, help_text='When this hub came to know of it: later than `at` where it was imported.'),
                ),
            ],
        ),
        migrations.AlterField(
            model_name='decision',
            name='at',
            field=models.DateTimeField(default=None, help_text='When it was made: the record instant of the versions it made.'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='decision',
            trigger=pgtrigger.compiler.Trigger(name='stamp', sql=pgtrigger.compiler.UpsertTriggerSql(func='\n        NEW.recorded_at := record_instant();\n        NEW.at := least(coalesce(NEW.at, NEW.recorded_at), NEW.recorded_at);\n        RETURN NEW;\n    ', hash='1ed0b0581a9717433cab43b8b01e902a1d34267f', operation='INSERT', pgid='pgtrigger_stamp_c646b', table='decisions', when='BEFORE')),
        ),
    ]
