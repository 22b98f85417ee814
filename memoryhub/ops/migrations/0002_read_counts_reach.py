"""Reads are counted by what the reader could see, so that nobody counts the reads of those who see more.

With which clearance the reads of before were made is not known: they count for those who may see every tier.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from memoryhub.firewall.types import tier_order

# On the way back there is one row for a principal and a minute.
TOGETHER = """
UPDATE read_counts SET reads = total FROM (
    SELECT min(id) AS first, sum(reads) AS total FROM read_counts GROUP BY principal, minute
) AS sums WHERE id = first;
DELETE FROM read_counts WHERE id NOT IN (SELECT min(id) FROM read_counts GROUP BY principal, minute);
"""


class Migration(migrations.Migration):
    dependencies = [("ops", "0001_initial")]
    operations = [
        migrations.RemoveConstraint(model_name="readcount", name="read_counts_by_minute"),
        migrations.RunSQL(migrations.RunSQL.noop, TOGETHER),
        migrations.AddField(
            model_name="readcount",
            name="reach_tiers",
            field=ArrayField(models.TextField(), default=tier_order),
            preserve_default=False,
        ),
        migrations.AddField("readcount", "reach_blocked", ArrayField(models.TextField(), default=list)),
        migrations.AddField("readcount", "reach_required", ArrayField(models.TextField(), default=list)),
        migrations.AddField(
            "readcount", "reach_namespaces", ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")
        ),
        migrations.AddField(
            model_name="readcount",
            name="reach_digest",
            field=models.BinaryField(
                default=b"", help_text="Of the four above, which may be longer than an index takes."
            ),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            model_name="readcount",
            constraint=models.UniqueConstraint(
                fields=("principal", "minute", "reach_digest"), name="read_counts_by_reach"
            ),
        ),
    ]
