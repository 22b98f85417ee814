"""Questions about earlier instants: indexes over all versions, and a record time that says up to when it is complete."""

import django.contrib.postgres.indexes
import memoryhub.memories.models
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

CLOCK = """
-- The latest instant that anybody was told is complete, in microseconds since 1970. A sequence, because what was told
-- is not taken back when the transaction that asked is.
CREATE SEQUENCE record_told AS bigint MINVALUE 0 START 0;
-- Nobody is writing while the schema changes.
SELECT setval('record_told', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

CREATE FUNCTION record_told() RETURNS timestamptz
LANGUAGE sql STABLE
RETURN 'epoch'::timestamptz + (SELECT last_value FROM record_told) * interval '1 microsecond';

-- No write comes at or before an instant about which somebody was told already, even if a clock is set back.
CREATE OR REPLACE FUNCTION record_tick() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment timestamptz;
BEGIN
    -- The row lock is held until COMMIT: instants and commits come in one order, and a clock set back moves nothing back.
    INSERT INTO record_clock AS clock (id, instant)
    VALUES (1, greatest(clock_timestamp(), record_told() + interval '1 microsecond'))
    ON CONFLICT (id) DO UPDATE
        SET instant = greatest(clock_timestamp(), greatest(clock.instant, record_told()) + interval '1 microsecond')
    RETURNING instant INTO STRICT moment;
    PERFORM set_config('memoryhub.record_instant', moment::text, true);
    RETURN moment;
END $$;

-- The last instant, not after the one that is asked about, up to which every write is committed, now and for ever.
-- Waits for those who are writing, if it must; what comes after in this transaction sees what they wrote. Without waiting
-- (but for a moment, in which most of them are done) it may be earlier than it need be. (The instant of the last write is told to nobody: it may be that of a hidden one.)
CREATE FUNCTION record_settle(asked timestamptz, waits boolean) RETURNS timestamptz
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
        ON CONFLICT (id) DO UPDATE SET instant = greatest(clock_timestamp(), clock.instant)
        RETURNING instant INTO STRICT settled;
        settled := least(asked, greatest(settled, record_told()));
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
OLD_CLOCK = """
DROP FUNCTION record_settle(timestamptz, boolean);

CREATE OR REPLACE FUNCTION record_tick() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment timestamptz;
BEGIN
    INSERT INTO record_clock AS clock (id, instant) VALUES (1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE
        SET instant = greatest(clock_timestamp(), clock.instant + interval '1 microsecond')
    RETURNING instant INTO STRICT moment;
    PERFORM set_config('memoryhub.record_instant', moment::text, true);
    RETURN moment;
END $$;

DROP FUNCTION record_told();
DROP SEQUENCE record_told;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('memories', '0005_row_security'),
    ]

    operations = [
        migrations.RunSQL(CLOCK, OLD_CLOCK),
        pgtrigger.migrations.RemoveTrigger(
            model_name='memory',
            name='append_only',
        ),
        migrations.RemoveIndex(
            model_name='memory',
            name='memories_labels',
        ),
        migrations.RemoveIndex(
            model_name='memory',
            name='memories_grams',
        ),
        migrations.AddField(
            model_name='memory',
            name='foretold',
            field=models.GeneratedField(db_persist=True, expression=memoryhub.memories.models.Foretold(models.F('timestamp'), models.F('recorded_at')), output_field=models.BooleanField()),
        ),
        migrations.AddField(
            model_name='memory',
            name='said_at',
            field=models.DateTimeField(blank=True, help_text='Record time of the version that said it, where this one only classifies it anew.', null=True),
        ),
        migrations.AddField(
            model_name='memory',
            name='said_id',
            field=models.BigIntegerField(blank=True, help_text='The id of that version; internal as id is.', null=True),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at__isnull', True)), fields=('memory_id',), name='memories_latest'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(fields=['classification_tier', 'foretold', 'timestamp', 'memory_id', 'recorded_at'], name='memories_history'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(fields=['classification_tier', 'namespace', 'foretold', 'timestamp', 'memory_id', 'recorded_at'], name='memories_history_namespace'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(fields=['classification_tier', 'subject', 'collection', 'timestamp', 'memory_id', 'recorded_at'], name='memories_history_key'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('superseded_at__isnull', False)), fields=['classification_tier', 'superseded_at'], name='memories_superseded'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('status', 'erased')), fields=['classification_tier', 'timestamp'], name='memories_erased'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('expires_at__isnull', False), ('superseded_at__isnull', False)), fields=['classification_tier', 'expires_at'], name='memories_outlived'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=django.contrib.postgres.indexes.GinIndex(memoryhub.memories.models.TierLabels(models.F('label_keys'), models.F('classification_tier')), condition=models.Q(('schema_version__gte', 1)), name='memories_labels'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=django.contrib.postgres.indexes.GinIndex(memoryhub.memories.models.TierGrams(models.F('content'), models.F('classification_tier')), condition=models.Q(('schema_version__gte', 1)), gin_pending_list_limit=16384, name='memories_grams'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memory',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE expected memories%ROWTYPE;', func="\n        expected := OLD;\n        expected.content_sha256 := NEW.content_sha256;\n        expected.search := NEW.search;\n        expected.foretold := NEW.foretold;\n        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN\n            NEW.superseded_at := record_instant();\n            expected.superseded_at := NEW.superseded_at;\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        IF NEW.status = 'erased' THEN\n            expected.status := 'erased';\n            expected.content := '';\n            expected.embedding := NULL;\n            expected.metadata := '{}';\n            expected.propagation := NULL;\n            expected.fingerprint := '';\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'\n            USING ERRCODE = 'integrity_constraint_violation';\n    ", hash='a5793e0c400895a05f60791a88bafc2d3875fac9', operation='UPDATE', pgid='pgtrigger_append_only_93bab', table='memories', when='BEFORE')),
        ),
    ]
