"""The second wall: PostgreSQL itself shows the rows that the transaction's clearance may see, and no others.

`firewall/wall.py` tells the clearance in settings of the transaction. Missing or '' they mean "sees nothing". FORCE binds
the owner, too. The rule is the one of `firewall/querysets.py`, once more and apart from it.
"""

from django.db import migrations

# A scalar subselect is computed once for a statement. The CASE keeps the planner from guessing how few rows a rule leaves
# whose parameters it does not know: the first wall tells it with literals.
RULE = """
(CASE WHEN
    {writes}
    OR (
        {namespace}
        AND NOT label_keys && (SELECT firewall_words('blocked_labels'))
        AND classification_tier = ANY ((SELECT firewall_words('tiers'))::varchar[])
        AND label_keys @> (SELECT firewall_words('required_labels'))
    )
THEN true END) IS NOT NULL
"""
EVERY_NAMESPACE = "(SELECT firewall_setting('namespaces')) = '*'"
NAMESPACE = f"({EVERY_NAMESPACE} OR namespace = ANY ((SELECT firewall_words('namespaces'))::varchar[]))"
WRITES_ALL = "(SELECT firewall_setting('writes_as')) = '*'"
WRITES = f"({WRITES_ALL} OR source = ANY ((SELECT firewall_words('writes_as'))::varchar[]))"
# A tally is kept by the trigger of whoever writes, under whatever source.
WRITES_SOMETHING = "(SELECT firewall_setting('writes_as')) <> ''"

FUNCTIONS = r"""
CREATE FUNCTION firewall_setting(name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN current_setting('memoryhub.' || name, true);

-- What is no list of words, is none: '' and NULL see nothing, '*' is asked for by name.
CREATE FUNCTION firewall_words(name text) RETURNS varchar[]
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN firewall_setting(name) LIKE '{%' THEN firewall_setting(name)::varchar[] END;
"""
NO_FUNCTIONS = "DROP FUNCTION firewall_words(text); DROP FUNCTION firewall_setting(text);"


def policies(table: str, *, seen: str, written: str) -> str:
    return f"""
    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY {table}_seen ON {table} FOR SELECT USING ({seen});
    CREATE POLICY {table}_added ON {table} FOR INSERT WITH CHECK ({written});
    CREATE POLICY {table}_changed ON {table} FOR UPDATE USING ({written}) WITH CHECK ({written});
    """


def no_policies(table: str) -> str:
    return f"""
    DROP POLICY {table}_seen ON {table};
    DROP POLICY {table}_added ON {table};
    DROP POLICY {table}_changed ON {table};
    ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
    """


def of_a_tally(table: str, namespace: str) -> migrations.RunSQL:
    seen = RULE.format(writes=WRITES_SOMETHING, namespace=namespace)
    return migrations.RunSQL(policies(table, seen=seen, written=WRITES_SOMETHING), no_policies(table))


# Record time is the hub's: who may only call this function can neither set the clock nor claim another instant.
CLOCK = """
ALTER FUNCTION record_tick() SECURITY DEFINER SET search_path = public, pg_temp;

CREATE OR REPLACE FUNCTION record_instant() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    told timestamptz := nullif(current_setting('memoryhub.record_instant', true), '')::timestamptz;
BEGIN
    IF told = (SELECT instant FROM record_clock) THEN
        RETURN told;
    END IF;
    RETURN record_tick();
END $$;
"""
OLD_CLOCK = """
CREATE OR REPLACE FUNCTION record_instant() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    told text := nullif(current_setting('memoryhub.record_instant', true), '');
BEGIN
    RETURN coalesce(told::timestamptz, record_tick());
END $$;

ALTER FUNCTION record_tick() SECURITY INVOKER RESET search_path;
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0004_tiers_apart")]
    operations = [
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.RunSQL(
            policies("memories", seen=RULE.format(writes=WRITES, namespace=NAMESPACE), written=WRITES),
            no_policies("memories"),
        ),
        of_a_tally("memory_counts", NAMESPACE),
        of_a_tally("memory_days", NAMESPACE),
        # It knows no namespaces, so it answers those alone who are bound to none.
        of_a_tally("memory_totals", EVERY_NAMESPACE),
        migrations.RunSQL(CLOCK, OLD_CLOCK),
    ]
