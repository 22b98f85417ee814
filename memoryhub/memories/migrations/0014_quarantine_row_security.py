"""The second wall hides what is in quarantine from those who may not judge memories.

A restrictive policy holds besides the others. A writer still finds what it wrote itself, to answer when it is sent again.
"""

from django.db import migrations

# In the form of 0005_row_security, for the planner's sake.
RULE = """
(CASE WHEN status <> 'quarantined' OR (SELECT firewall_setting('sees_quarantined')) = 'on' OR {writes}
THEN true END) IS NOT NULL
"""
WRITES_ALL = "(SELECT firewall_setting('writes_as')) = '*'"
WRITES = f"{WRITES_ALL} OR source = ANY ((SELECT firewall_words('writes_as'))::varchar[])"
WRITES_SOMETHING = "(SELECT firewall_setting('writes_as')) <> ''"


def quarantine(table: str, writes: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE POLICY {table}_quarantine ON {table} AS RESTRICTIVE FOR SELECT USING ({RULE.format(writes=writes)})",
        f"DROP POLICY {table}_quarantine ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("memories", "0013_label_keys")]
    operations = [
        quarantine("memories", WRITES),
        quarantine("memory_counts", WRITES_SOMETHING),
        quarantine("memory_days", WRITES_SOMETHING),
        quarantine("memory_totals", WRITES_SOMETHING),
    ]
