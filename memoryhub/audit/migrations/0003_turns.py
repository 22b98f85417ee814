"""Appenders take turns: one after the other, in the order in which they came.

Waiters of a row's lock wake all at once when it is released, and race for it: among sixteen of them the slowest waits
three times as long. They queue for an advisory lock instead, which whoever has its turn holds until its transaction ends.
"""

from django.db import migrations

TURN = """
CREATE FUNCTION audit_turn(no_hash bytea) RETURNS audit_head
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    head audit_head;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_head'));
    -- A statement of its own: it sees what was committed while this one waited.
    SELECT * INTO head FROM audit_head WHERE id = 1;
    IF NOT FOUND THEN
        INSERT INTO audit_head (id, seq, hash, at) VALUES (1, 0, no_hash, 'epoch') RETURNING * INTO head;
    END IF;
    head.at := greatest(clock_timestamp(), head.at + interval '1 microsecond');
    RETURN head;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_row_security")]
    operations = [
        migrations.RunSQL(TURN, "DROP FUNCTION audit_turn(bytea)"),
        # The head is rewritten with every entry: room for that on its page.
        migrations.RunSQL(
            "ALTER TABLE audit_head SET (fillfactor = 10)", "ALTER TABLE audit_head RESET (fillfactor)"
        ),
    ]
