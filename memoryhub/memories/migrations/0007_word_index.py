"""The index of words, which the worker fills."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Func, Q

# A lexeme is hashed together with its tier: a lookup for one tier meets no entry of another, and entries are short.
TIER_WORDS = """
CREATE FUNCTION memory_tier_words(words tsvector, tier text) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 200
RETURN ARRAY(
    SELECT hashtextextended(lexeme COLLATE "C", seed)
    FROM (SELECT hashtextextended(tier COLLATE "C", 0) AS seed OFFSET 0) AS seeds,
         unnest(tsvector_to_array(words)) AS lexeme
);
"""
NO_TIER_WORDS = "DROP FUNCTION memory_tier_words(tsvector, text)"
# The instant of record time up to which the index has the words of all versions.
INDEXED_THROUGH = """
CREATE FUNCTION memory_words_indexed_through() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT recorded_through FROM word_index_progress), '-infinity');
"""
NO_INDEXED_THROUGH = "DROP FUNCTION memory_words_indexed_through()"
# Searches join the rows with memories, whose policy has all of the rule. This one repeats that a tier is hidden.
ROW_LEVEL_SECURITY = """
ALTER TABLE memory_words ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_words FORCE ROW LEVEL SECURITY;
CREATE POLICY memory_words_select ON memory_words FOR SELECT USING (
    (CASE WHEN (SELECT firewall_setting('writer_sources')) = '*'
              OR tier = ANY ((SELECT firewall_setting_array('tiers'))::varchar[])
     THEN true END) IS NOT NULL
);
CREATE POLICY memory_words_insert ON memory_words FOR INSERT
    WITH CHECK ((SELECT firewall_setting('writer_sources')) = '*');
"""
NO_ROW_LEVEL_SECURITY = """
DROP POLICY memory_words_insert ON memory_words;
DROP POLICY memory_words_select ON memory_words;
ALTER TABLE memory_words NO FORCE ROW LEVEL SECURITY;
ALTER TABLE memory_words DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0006_words"), ("firewall", "0002_clearance_settings")]
    operations = [
        migrations.RunSQL(TIER_WORDS, NO_TIER_WORDS),
        migrations.CreateModel(
            name="MemoryWords",
            fields=[
                ("row", models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name="+", serialize=False, to="memories.memory")),
                ("tier", models.CharField(max_length=64)),
                ("words", django.contrib.postgres.search.SearchVectorField()),
            ],
            options={
                "db_table": "memory_words",
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        Func(F("words"), F("tier"), function="memory_tier_words", output_field=django.contrib.postgres.fields.ArrayField(models.BigIntegerField())),
                        condition=Q(tier__gte=""), fastupdate=False, name="memory_words_tier_words",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WordIndexProgress",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("recorded_through", models.DateTimeField()),
            ],
            options={
                "db_table": "word_index_progress",
                "constraints": [models.CheckConstraint(condition=Q(id=1), name="word_index_progress_is_one_row")],
            },
        ),
        migrations.RunSQL(INDEXED_THROUGH, NO_INDEXED_THROUGH),
        migrations.RunSQL(ROW_LEVEL_SECURITY, NO_ROW_LEVEL_SECURITY),
    ]
