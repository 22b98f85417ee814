"""The very first instant of a hub, too, comes after all that were told.

A clock without a row is set by INSERT, whose values are drawn before it waits for anybody: a reader who settled in
between was told of an instant at which the writer then wrote.
"""

from importlib import import_module

from django.db import migrations

CLOCK = """
-- No write comes at or before an instant about which somebody was told already, even if a clock is set back.
CREATE OR REPLACE FUNCTION record_tick() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment timestamptz;
BEGIN
    -- The row lock is held until COMMIT: instants and commits come in one order, and a clock set back moves nothing back.
    INSERT INTO record_clock AS clock (id, instant)
    VALUES (1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE
        SET instant = greatest(clock_timestamp(), greatest(clock.instant, record_told()) + interval '1 microsecond')
    RETURNING instant INTO STRICT moment;
    -- What the INSERT drew is older than the lock.
    IF moment <= record_told() THEN
        UPDATE record_clock SET instant = greatest(clock_timestamp(), record_told() + interval '1 microsecond')
        RETURNING instant INTO STRICT moment;
    END IF;
    PERFORM set_config('memoryhub.record_instant', moment::text, true);
    RETURN moment;
END $$;

-- The last instant, not after the one that is asked about, up to which every write is committed, now and for ever.
-- Waits for those who are writing, if it must; what comes after in this transaction sees what they wrote. Without
-- waiting (but for a moment, in which most of them are done) it may be earlier than it need be. (The instant of the last
-- write is told to nobody: it may be that of a hidden one.)
CREATE OR REPLACE FUNCTION record_settle(asked timestamptz, waits boolean) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    settled timestamptz := greatest((SELECT instant FROM record_clock), record_told());
BEGIN
    IF asked <= settled THEN
        RETURN asked;
    END IF;
    BEGIN
        IF NOT waits THEN
            PERFORM set_config('lock_timeout', '100ms', true);
        END IF;
        INSERT INTO record_clock AS clock (id, instant) VALUES (1, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET instant = clock.instant
        RETURNING instant INTO STRICT settled;
        -- Nobody is writing, and whoever comes next comes after now.
        settled := least(asked, greatest(clock_timestamp(), settled, record_told()));
        PERFORM setval('record_told', (extract(epoch FROM settled) * 1000000)::bigint) WHERE settled > record_told();
        -- Undone, it lets go of the clock at once: a reader stands in no writer's way.
        RAISE SQLSTATE 'MH000';
    EXCEPTION
        WHEN SQLSTATE 'MH000' THEN NULL;
        WHEN lock_not_available THEN
            IF waits THEN
                RAISE;
            END IF;
            settled := record_told();
    END;
    RETURN settled;
END $$;
"""
_BEFORE = import_module("memoryhub.memories.migrations.0006_known_at").CLOCK
OLD_CLOCK = _BEFORE[_BEFORE.index("-- No write comes") :].replace(
    "CREATE FUNCTION record_settle", "CREATE OR REPLACE FUNCTION record_settle"
)


class Migration(migrations.Migration):
    dependencies = [("memories", "0008_decided")]
    operations = [migrations.RunSQL(CLOCK, OLD_CLOCK)]
