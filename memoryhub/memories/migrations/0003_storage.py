"""How the tables are stored, and what the planner may know of the tiers."""

from django.db import migrations

# The rows that lists read stay narrow: a vector of 384 numbers is 1.5 kB that no list wants.
STORAGE = """
ALTER TABLE memories ALTER COLUMN embedding SET STORAGE EXTERNAL;
ALTER TABLE memories SET (toast_tuple_target = 1024);
ALTER TABLE record_clock SET (fillfactor = 10);
"""
NO_STORAGE = """
ALTER TABLE record_clock RESET (fillfactor);
ALTER TABLE memories RESET (toast_tuple_target);
ALTER TABLE memories ALTER COLUMN embedding SET STORAGE DEFAULT;
"""
# How many rows a tier has must not decide how another tier is read. Without statistics the planner assumes that a tier
# is a two-hundredth of the table; with one distinct value it assumes that any tier may be all of it.
STATISTICS = """
ALTER TABLE memories ALTER COLUMN classification_tier SET STATISTICS 0;
DO $$ BEGIN
    -- Servers before 18 lack the function.
    IF current_setting('server_version_num')::integer >= 180000 THEN
        PERFORM pg_restore_attribute_stats(
            'schemaname', current_schema()::text, 'relname', 'memories', 'attname', 'classification_tier',
            'inherited', false, 'null_frac', 0::real, 'avg_width', 9, 'n_distinct', 1::real
        );
    END IF;
END $$;
"""
NO_STATISTICS = "ALTER TABLE memories ALTER COLUMN classification_tier SET STATISTICS DEFAULT"


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_tables")]
    operations = [migrations.RunSQL(STORAGE, NO_STORAGE), migrations.RunSQL(STATISTICS, NO_STATISTICS)]
