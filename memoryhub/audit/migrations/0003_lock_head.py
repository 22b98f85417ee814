"""Sessions append to the audit log one after the other, in the order in which they came.

Sessions that wait for the lock of a row all wake when it is released, and race for it: of sixteen the slowest waits three
times as long. They queue for an advisory lock instead, which a session holds until its transaction ends.
"""

from django.db import migrations

LOCK_HEAD = """
CREATE FUNCTION audit_lock_head(genesis_hash bytea, OUT seq bigint, OUT hash bytea, OUT occurred_at timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_chain_head'));
    -- A statement of its own: it sees what was committed while this one waited.
    SELECT head.seq, head.hash, head.last_occurred_at INTO seq, hash, occurred_at
    FROM audit_chain_head AS head WHERE head.id = 1;
    IF NOT FOUND THEN
        INSERT INTO audit_chain_head (id, seq, hash, last_occurred_at) VALUES (1, 0, genesis_hash, 'epoch');
        seq := 0;
        hash := genesis_hash;
        occurred_at := 'epoch';
    END IF;
    occurred_at := greatest(clock_timestamp(), occurred_at + interval '1 microsecond');
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_row_level_security")]
    operations = [
        migrations.RunSQL(LOCK_HEAD, "DROP FUNCTION audit_lock_head(bytea)"),
        # The head is rewritten with every entry: room for that on its page.
        migrations.RunSQL(
            "ALTER TABLE audit_chain_head SET (fillfactor = 10)", "ALTER TABLE audit_chain_head RESET (fillfactor)"
        ),
    ]
