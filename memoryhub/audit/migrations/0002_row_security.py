"""Who may see an entry, held by PostgreSQL itself: those who may see everything that its actor could see.

The asking transaction tells its clearance in the settings that `firewall/wall.py` makes. Missing or '' they mean "sees
nothing"; the keeper of the ledger, who verifies it, says writes_as = '*'. FORCE binds the owner, too. Anybody may append.
"""

from django.db import migrations

# A scalar subselect is parsed once for a statement, not for every row. What is no list of words is none, and NULL
# covers nothing.
WORDS = "(SELECT CASE WHEN current_setting('memoryhub.{0}', true) LIKE '{{%' THEN current_setting('memoryhub.{0}', true)::text[] END)"
TIERS, BLOCKED, REQUIRED, NAMESPACES = map(WORDS.format, ("tiers", "blocked_labels", "required_labels", "namespaces"))
RULE = f"""
    (SELECT current_setting('memoryhub.writes_as', true)) = '*'
    OR (
        reach_tiers <@ {TIERS}
        AND reach_blocked @> {BLOCKED}
        AND reach_required @> {REQUIRED}
        AND ((SELECT current_setting('memoryhub.namespaces', true)) = '*' OR reach_namespaces <@ {NAMESPACES})
    )
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [
        migrations.RunSQL(
            f"""
            ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
            ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
            CREATE POLICY audit_entries_seen ON audit_entries FOR SELECT USING ({RULE});
            CREATE POLICY audit_entries_added ON audit_entries FOR INSERT WITH CHECK (true);
            """,
            """
            DROP POLICY audit_entries_added ON audit_entries;
            DROP POLICY audit_entries_seen ON audit_entries;
            ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY;
            ALTER TABLE audit_entries DISABLE ROW LEVEL SECURITY;
            """,
        ),
    ]
