"""Keep the rows that lists read narrow: a vector of 384 numbers is 1.5 kB that no list wants."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_initial")]
    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE memories ALTER COLUMN embedding SET STORAGE EXTERNAL;
            ALTER TABLE memories SET (toast_tuple_target = 1024);
            ALTER TABLE record_clock SET (fillfactor = 10);
            """,
            """
            ALTER TABLE record_clock RESET (fillfactor);
            ALTER TABLE memories RESET (toast_tuple_target);
            ALTER TABLE memories ALTER COLUMN embedding SET STORAGE DEFAULT;
            """,
        ),
    ]
