"""Which audit entries a transaction sees, enforced by PostgreSQL: those whose actor could see no more than it can.

`firewall/rls.py` puts the clearance of the transaction into settings. A missing or empty setting sees nothing; who
verifies the audit log sets memoryhub.writer_sources = '*'. FORCE binds the owner, too. Every session may append.
"""

from django.db import migrations

# A scalar subselect is parsed once for a statement, not for every row. A setting that is no array is NULL, and NULL
# contains nothing.
ARRAY = (
    "(SELECT CASE WHEN current_setting('memoryhub.{0}', true) LIKE '{{%'"
    " THEN current_setting('memoryhub.{0}', true)::text[] END)"
)
TIERS, BLOCKED, REQUIRED, NAMESPACES = map(ARRAY.format, ("tiers", "blocked_labels", "required_labels", "namespaces"))
RULE = f"""
    (SELECT current_setting('memoryhub.writer_sources', true)) = '*'
    OR (
        clearance_tiers <@ {TIERS}
        AND clearance_blocked_labels @> {BLOCKED}
        AND clearance_required_labels @> {REQUIRED}
        AND ((SELECT current_setting('memoryhub.namespaces', true)) = '*' OR clearance_namespaces <@ {NAMESPACES})
    )
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_tables")]
    operations = [
        migrations.RunSQL(
            f"""
            ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
            ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
            CREATE POLICY audit_entries_select ON audit_entries FOR SELECT USING ({RULE});
            CREATE POLICY audit_entries_insert ON audit_entries FOR INSERT WITH CHECK (true);
            """,
            """
            DROP POLICY audit_entries_insert ON audit_entries;
            DROP POLICY audit_entries_select ON audit_entries;
            ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY;
            ALTER TABLE audit_entries DISABLE ROW LEVEL SECURITY;
            """,
        ),
    ]
