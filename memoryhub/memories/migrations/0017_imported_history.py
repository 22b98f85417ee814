"""A version that was superseded before this hub knew of it has an empty interval of record time: it was never in force here.

So the earlier versions of a memory can be imported after its current one. Nothing else can begin and end at one
instant: what was in force is closed at a later one, which the trigger holds by now.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memories', '0016_expiring_and_final_sigma'),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='memory',
            name='stamp',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='memory',
            name='append_only',
        ),
        migrations.RemoveConstraint(
            model_name='memory',
            name='memories_half_open',
        ),
        migrations.AlterField(
            model_name='memory',
            name='said_at',
            field=models.DateTimeField(blank=True, help_text='Record time of the version that said it, where this one only classifies it anew or was imported: then it is a time of the hub that it comes from.', null=True),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memory',
            trigger=pgtrigger.compiler.Trigger(name='stamp', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        NEW.recorded_at := record_instant();\n        NEW.superseded_at := CASE WHEN NEW.superseded_at = '-infinity' THEN NEW.recorded_at END;\n        RETURN NEW;\n    ", hash='d1f9d3e52fccd38bc89e73ad91324d105fa947cd', operation='INSERT', pgid='pgtrigger_stamp_82ee1', table='memories', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='memory',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE expected memories%ROWTYPE;', func="\n        expected := OLD;\n        expected.content_sha256 := NEW.content_sha256;\n        expected.search := NEW.search;\n        expected.foretold := NEW.foretold;\n        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN\n            NEW.superseded_at := record_instant();\n            expected.superseded_at := NEW.superseded_at;\n            IF NEW.superseded_at <= NEW.recorded_at THEN\n                RAISE EXCEPTION 'a version that was in force cannot end at the instant at which it began'\n                    USING ERRCODE = 'check_violation', CONSTRAINT = 'memories_half_open', TABLE = 'memories';\n            END IF;\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        IF NEW.status = 'erased' THEN\n            NEW.value_sha256 := '';\n            expected.value_sha256 := '';\n            expected.status := 'erased';\n            expected.content := '';\n            expected.masked_content := NULL;\n            expected.embedding := NULL;\n            expected.metadata := '{}';\n            expected.propagation := NULL;\n            expected.fingerprint := '';\n            IF NEW IS NOT DISTINCT FROM expected THEN\n                RETURN NEW;\n            END IF;\n        END IF;\n        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'\n            USING ERRCODE = 'integrity_constraint_violation';\n    ", hash='16e0a6c794d40a477bde60214459c0f72f1e611e', operation='UPDATE', pgid='pgtrigger_append_only_93bab', table='memories', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='memory',
            constraint=models.CheckConstraint(condition=models.Q(('superseded_at__isnull', True), ('superseded_at__gte', models.F('recorded_at')), _connector='OR'), name='memories_half_open'),
        ),
    ]
