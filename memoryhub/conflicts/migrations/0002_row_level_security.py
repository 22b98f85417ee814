"""Row-level security for decisions: a transaction sees those of which it may see all the members.

The rule is that of `DecisionQuerySet.visible_to`, as far as it is about how the members were classified when the decision
was made, written a second time and independent of it. FORCE binds the owner, too. A transaction that may write memories
may add decisions.
"""

from django.db import migrations

# A setting that is no array is NULL, and the row is not seen.
RULE = """
    (SELECT firewall_setting('writer_sources')) = '*'
    OR (
        tiers <@ (SELECT firewall_setting_array('tiers'))
        AND NOT any_labels && (SELECT firewall_setting_array('blocked_labels'))
        AND common_labels @> (SELECT firewall_setting_array('required_labels'))
        AND (
            (SELECT firewall_setting('namespaces')) = '*'
            OR namespaces <@ (SELECT firewall_setting_array('namespaces'))
        )
    )
"""


class Migration(migrations.Migration):
    dependencies = [("conflicts", "0001_tables"), ("firewall", "0002_clearance_settings")]
    operations = [
        migrations.RunSQL(
            f"""
            ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;
            ALTER TABLE decisions FORCE ROW LEVEL SECURITY;
            CREATE POLICY decisions_select ON decisions FOR SELECT USING ({RULE});
            CREATE POLICY decisions_insert ON decisions FOR INSERT
                WITH CHECK ((SELECT firewall_setting('writer_sources')) <> '');
            """,
            """
            DROP POLICY decisions_insert ON decisions;
            DROP POLICY decisions_select ON decisions;
            ALTER TABLE decisions NO FORCE ROW LEVEL SECURITY;
            ALTER TABLE decisions DISABLE ROW LEVEL SECURITY;
            """,
        ),
    ]
