"""Indexes that do not begin with the tier are for who looks an id up (`querysets.BY_ID`), and are no way to anything else."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memories', '0011_masked_text'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_version',
        ),
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_identity',
        ),
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_latest',
        ),
        migrations.RemoveIndex(
            model_name='memory',
            name='memories_rejected',
        ),
        migrations.RemoveIndex(
            model_name='memory',
            name='memories_decided',
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('superseded_at__isnull', True), ('decision__isnull', False), ('status', 'retired'), ('version__gte', 1)), fields=['subject', 'collection', 'content_sha256'], name='memories_rejected'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('superseded_at__isnull', True), ('decision__isnull', False), ('version__gte', 1)), fields=['decision'], name='memories_decided'),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.UniqueConstraint(condition=models.Q(('version__gte', 1)), fields=('memory_id', 'version'), name='memories_version'),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at__isnull', True), ('version__gte', 1)), fields=('memory_id',), name='memories_latest'),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at__isnull', True), ('version__gte', 1)), fields=('source', 'payload_id', 'beyond_source'), name='memories_identity'),
        ),
    ]
