"""What a source last sent is stored beside what its memories are classified as by now.

Of the memories that exist, that is the classification of the version that the source wrote: what came after it only
classified it anew.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


# The triggers refuse every change of a version, and row-level security shows none of them.
FILL = """
SELECT set_config('memoryhub.writes_as', '*', true);
ALTER TABLE memories DISABLE TRIGGER USER;
UPDATE memories AS m
SET sent_namespace = written.namespace, sent_tier = written.classification_tier,
    sent_labels = written.sensitivity_labels
FROM memories AS written WHERE written.id = coalesce(m.said_id, m.id);
ALTER TABLE memories ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('memories', '0009_first_instant'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_identity',
        ),
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_labels_length',
        ),
        migrations.AddField(
            model_name='memory',
            name='beyond_source',
            field=models.BooleanField(default=False, help_text="The operator stored it beyond its source's clearance for writing: to the source it does not exist."),
        ),
        migrations.AddField(
            model_name='memory',
            name='sent_labels',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, help_text='The labels that its source last sent.', size=None),
        ),
        migrations.AddField(
            model_name='memory',
            name='sent_namespace',
            field=models.CharField(blank=True, default='', help_text='The namespace that its source last sent.', max_length=255),
        ),
        migrations.AddField(
            model_name='memory',
            name='sent_tier',
            field=models.CharField(blank=True, default='', help_text='The tier that its source last sent, before others changed it.', max_length=64),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at__isnull', True)), fields=('source', 'payload_id', 'beyond_source'), name='memories_identity'),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.CheckConstraint(condition=models.Q(('sensitivity_labels__len__lte', 128), ('label_keys__len__lte', models.F('sensitivity_labels__len'))), name='memories_labels_length'),
        ),
    ]
