"""Row-level security: PostgreSQL itself shows a transaction the rows that its clearance may see, and no others.

`firewall/rls.py` puts the clearance into settings of the transaction. A missing or empty setting sees nothing. FORCE
binds the owner, too. The rule is that of `firewall/querysets.py`, written a second time and independent of it.
"""

from django.db import migrations

# A scalar subselect is computed once for a statement. The CASE keeps the planner from guessing how few rows a rule
# leaves whose parameters it does not know: the query's own filter has them as literals.
RULE = """
(CASE WHEN
    {writes}
    OR (
        {namespace}
        AND NOT normalized_labels && (SELECT firewall_setting_array('blocked_labels'))
        AND classification_tier = ANY ((SELECT firewall_setting_array('tiers'))::varchar[])
        AND normalized_labels @> (SELECT firewall_setting_array('required_labels'))
    )
THEN true END) IS NOT NULL
"""
# A restrictive policy holds beside the others: quarantined rows are hidden from clearances that may not judge them. A
# writer still finds what it wrote itself, to answer when it is sent again.
QUARANTINE_RULE = """
(CASE WHEN status <> 'quarantined' OR (SELECT firewall_setting('sees_quarantined')) = 'on' OR {writes}
THEN true END) IS NOT NULL
"""
ALL_NAMESPACES = "(SELECT firewall_setting('namespaces')) = '*'"
NAMESPACE = f"({ALL_NAMESPACES} OR namespace = ANY ((SELECT firewall_setting_array('namespaces'))::varchar[]))"
WRITES_ALL = "(SELECT firewall_setting('writer_sources')) = '*'"
WRITES = f"({WRITES_ALL} OR source = ANY ((SELECT firewall_setting_array('writer_sources'))::varchar[]))"
# The triggers of a write keep the rollups, under whatever source it writes.
WRITES_SOMETHING = "(SELECT firewall_setting('writer_sources')) <> ''"


def row_level_security(table: str, *, writes: str, namespace: str) -> migrations.RunSQL:
    select, quarantine = RULE.format(writes=writes, namespace=namespace), QUARANTINE_RULE.format(writes=writes)
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY {table}_select ON {table} FOR SELECT USING ({select});
        CREATE POLICY {table}_insert ON {table} FOR INSERT WITH CHECK ({writes});
        CREATE POLICY {table}_update ON {table} FOR UPDATE USING ({writes}) WITH CHECK ({writes});
        CREATE POLICY {table}_quarantine ON {table} AS RESTRICTIVE FOR SELECT USING ({quarantine});
        """,
        f"""
        DROP POLICY {table}_quarantine ON {table};
        DROP POLICY {table}_update ON {table};
        DROP POLICY {table}_insert ON {table};
        DROP POLICY {table}_select ON {table};
        ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )


class Migration(migrations.Migration):
    dependencies = [("memories", "0003_storage"), ("firewall", "0002_clearance_settings")]
    operations = [
        row_level_security("memories", writes=WRITES, namespace=NAMESPACE),
        row_level_security("memory_rollups", writes=WRITES_SOMETHING, namespace=NAMESPACE),
        row_level_security("memory_day_rollups", writes=WRITES_SOMETHING, namespace=NAMESPACE),
        # It has no namespaces, so it answers only clearances that are bound to none.
        row_level_security("memory_total_rollups", writes=WRITES_SOMETHING, namespace=ALL_NAMESPACES),
    ]
