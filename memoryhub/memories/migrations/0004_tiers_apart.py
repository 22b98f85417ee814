"""Indexes in which each tier has a stretch of its own, so that a reader's way passes no row of a hidden tier."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations
from django.db.models import F, Index, Q

from memoryhub.memories.models import TierGrams, TierLabels

CURRENT = Q(superseded_at__isnull=True)
LOOKED_UP = Q(schema_version__gte=1)
SOUGHT = CURRENT & LOOKED_UP

CREATE = r"""
-- A gram has 24 bits; 40 more say whose it is. They are a hash, because tiers are the operator's to name.
CREATE FUNCTION memory_tier_grams(value text, tier text) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 2000
RETURN ARRAY(
    SELECT tag | gram
    FROM (SELECT ('x' || left(encode(sha256(memory_utf8(tier)), 'hex'), 10))::bit(40)::bigint << 24 AS tag OFFSET 0) AS t,
         unnest(memory_grams(value)) AS gram
);

-- No tier has a slash in its name (memories_tier).
CREATE FUNCTION memory_tier_labels(labels varchar[], tier text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 50
RETURN ARRAY(SELECT tier || '/' || label FROM unnest(labels) AS label);
"""
# How many rows a tier holds must not decide how another tier is read. Without statistics the planner would believe that a
# tier is a two-hundredth of the table; told of one distinct value, it believes that any tier may be all of it.
STATISTICS = """
ALTER TABLE memories ALTER COLUMN classification_tier SET STATISTICS 0;
DO $$ BEGIN
    -- Older servers cannot be told.
    IF current_setting('server_version_num')::integer >= 180000 THEN
        PERFORM pg_restore_attribute_stats(
            'schemaname', 'public', 'relname', 'memories', 'attname', 'classification_tier', 'inherited', false,
            'null_frac', 0::real, 'avg_width', 9, 'n_distinct', 1::real
        );
    END IF;
END $$;
"""
NO_STATISTICS = "ALTER TABLE memories ALTER COLUMN classification_tier SET STATISTICS DEFAULT"

DROP = """
DROP FUNCTION memory_tier_labels(varchar[], text);
DROP FUNCTION memory_tier_grams(text, text);
"""


def anew(model: str, name: str, *fields: str, **options: object) -> list[migrations.operations.base.Operation]:
    return [
        migrations.RemoveIndex(model, name),
        migrations.AddIndex(model, Index(fields=["classification_tier", *fields], name=name, **options)),
    ]


class Migration(migrations.Migration):
    dependencies = [("memories", "0003_storage")]
    operations = [
        migrations.RunSQL(CREATE, DROP),
        migrations.RunSQL(STATISTICS, NO_STATISTICS),
        *anew("memory", "memories_newest", "timestamp", "memory_id", condition=CURRENT),
        *anew("memory", "memories_namespace", "namespace", "timestamp", "memory_id", condition=CURRENT),
        *anew("memory", "memories_subject", "subject", "timestamp", "memory_id", condition=CURRENT),
        *anew("memory", "memories_classified", "namespace", "actor_type", "timestamp", "memory_id", condition=CURRENT),
        *anew("memory", "memories_recorded", "recorded_at", condition=LOOKED_UP),
        *anew("memory", "memories_mortal", "expires_at", condition=CURRENT & Q(expires_at__isnull=False)),
        migrations.RemoveIndex("memory", "memories_labels"),
        migrations.AddIndex(
            "memory",
            GinIndex(TierLabels(F("label_keys"), F("classification_tier")), condition=SOUGHT, name="memories_labels"),
        ),
        # Whoever goes back gets the index with the option that the migration before gave it.
        migrations.RunSQL(
            migrations.RunSQL.noop, "ALTER INDEX memories_grams SET (gin_pending_list_limit = 16384)"
        ),
        migrations.RemoveIndex("memory", "memories_grams"),
        migrations.AddIndex(
            "memory",
            GinIndex(
                TierGrams(F("content"), F("classification_tier")),
                condition=SOUGHT,
                gin_pending_list_limit=16_384,
                name="memories_grams",
            ),
        ),
        *anew("memorytotal", "memory_totals_dimension", "dimension"),
        migrations.AddIndex(
            "memorycount", Index(fields=["classification_tier", "namespace"], name="memory_counts_namespace")
        ),
        migrations.AddIndex(
            "memoryday", Index(fields=["classification_tier", "namespace"], name="memory_days_namespace")
        ),
    ]
