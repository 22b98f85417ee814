"""The functions of the memories look names up in the hub's own schema, whatever `search_path` a session sets.

The bodies of functions in PL/pgSQL are read when they run, unlike those of SQL functions. A migration that replaces one of
them sets its `search_path` again; a test finds functions without one.
"""

from django.db import migrations

CHANGE_FUNCTIONS = """
DO $$
DECLARE
    hub_function regprocedure;
BEGIN
    FOR hub_function IN
        SELECT tgfoid FROM pg_trigger WHERE tgrelid = 'memories'::regclass AND NOT tgisinternal
        UNION
        SELECT oid FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace
          AND proname IN ('record_time_lock', 'record_time_next', 'record_time_current', 'record_time_stable')
    LOOP
        EXECUTE format('ALTER FUNCTION %s {change}', hub_function{schema});
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0004_row_level_security")]
    operations = [
        migrations.RunSQL(
            CHANGE_FUNCTIONS.format(change="SET search_path = %I, pg_temp", schema=", current_schema()"),
            CHANGE_FUNCTIONS.format(change="RESET search_path", schema=""),
        ),
    ]
