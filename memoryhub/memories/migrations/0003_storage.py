"""Keep the rows that lists read narrow: a vector of 384 numbers is 1.5 kB that no list wants.

And let new grams wait in a longer list before they are sorted into the index: a batch of memories brings megabytes of
them, and four times the list costs a writer a third less and a search a few milliseconds.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_initial")]
    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE memories ALTER COLUMN embedding SET STORAGE EXTERNAL;
            ALTER TABLE memories SET (toast_tuple_target = 1024);
            ALTER TABLE record_clock SET (fillfactor = 10);
            ALTER INDEX memories_grams SET (gin_pending_list_limit = 16384);
            """,
            """
            ALTER INDEX memories_grams RESET (gin_pending_list_limit);
            ALTER TABLE record_clock RESET (fillfactor);
            ALTER TABLE memories RESET (toast_tuple_target);
            ALTER TABLE memories ALTER COLUMN embedding SET STORAGE DEFAULT;
            """,
        ),
    ]
