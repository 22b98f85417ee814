"""The functions of decisions look names up in the hub's own schema, whatever `search_path` a session sets.

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
        SELECT tgfoid FROM pg_trigger WHERE tgrelid = 'decisions'::regclass AND NOT tgisinternal
    LOOP
        EXECUTE format('ALTER FUNCTION %s {change}', hub_function{schema});
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("conflicts", "0002_row_level_security")]
    operations = [
        migrations.RunSQL(
            CHANGE_FUNCTIONS.format(change="SET search_path = %I, pg_temp", schema=", current_schema()"),
            CHANGE_FUNCTIONS.format(change="RESET search_path", schema=""),
        ),
    ]
