"""The second wall around decisions: seen by those who may see all that a decision was made on.

The rule of `querysets.DecisionQuerySet.visible_to`, as far as it speaks of how the memories were classified then, once
more and apart from it. FORCE binds the owner, too. Whoever writes memories may add decisions.
"""

from django.db import migrations

# What is no list of words, is NULL, and the row is not seen.
RULE = """
    (SELECT firewall_setting('writes_as')) = '*'
    OR (
        tiers <@ (SELECT firewall_words('tiers'))
        AND NOT some_labels && (SELECT firewall_words('blocked_labels'))
        AND all_labels @> (SELECT firewall_words('required_labels'))
        AND ((SELECT firewall_setting('namespaces')) = '*' OR namespaces <@ (SELECT firewall_words('namespaces')))
    )
"""


class Migration(migrations.Migration):
    dependencies = [("conflicts", "0001_initial")]
    operations = [
        migrations.RunSQL(
            f"""
            ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;
            ALTER TABLE decisions FORCE ROW LEVEL SECURITY;
            CREATE POLICY decisions_seen ON decisions FOR SELECT USING ({RULE});
            CREATE POLICY decisions_added ON decisions FOR INSERT
                WITH CHECK ((SELECT firewall_setting('writes_as')) <> '');
            """,
            """
            DROP POLICY decisions_added ON decisions;
            DROP POLICY decisions_seen ON decisions;
            ALTER TABLE decisions NO FORCE ROW LEVEL SECURITY;
            ALTER TABLE decisions DISABLE ROW LEVEL SECURITY;
            """,
        ),
    ]
