"""Sources become rows: each with a clearance for writing, at first that of its oldest key."""

import django.contrib.postgres.fields
import memoryhub.firewall.models
from django.conf import settings
from django.db import migrations, models


# A key without a clearance sees the most open tier alone, whose name is the operator's setting.
OF_THE_KEYS = """
INSERT INTO sources (name, max_tier, blocked_labels, required_labels, every_namespace, namespaces)
SELECT DISTINCT ON (k.source) k.source, coalesce(c.max_tier, %s), coalesce(c.blocked_labels, '{}'),
    coalesce(c.required_labels, '{}'), coalesce(c.every_namespace, true), coalesce(c.namespaces, '{}')
FROM api_keys AS k LEFT JOIN clearances AS c ON c.id = k.clearance_id
WHERE k.source <> ''
ORDER BY k.source, k.created
"""


def create_sources_of_keys(apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute(OF_THE_KEYS, [settings.MEMORYHUB.tiers[0]])


class Migration(migrations.Migration):

    dependencies = [
        ('firewall', '0002_keys_speak_for_actors'),
    ]

    operations = [
        migrations.CreateModel(
            name='Source',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('max_tier', models.CharField(help_text='The highest tier that may be seen.', max_length=64, validators=[memoryhub.firewall.models._is_a_tier])),
                ('blocked_labels', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, help_text='A memory with any of these labels is hidden, whatever its tier.', size=None)),
                ('required_labels', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, help_text='Only memories that carry all of these labels are seen.', size=None)),
                ('every_namespace', models.BooleanField(default=True, help_text='Off: only the namespaces listed below.')),
                ('namespaces', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, size=None)),
                ('name', models.CharField(max_length=255, unique=True)),
            ],
            options={
                'db_table': 'sources',
                'ordering': ['name'],
            },
        ),
        migrations.RunPython(create_sources_of_keys, migrations.RunPython.noop),
    ]
