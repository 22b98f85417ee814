import django.db.models.deletion
import pgvector.django.halfvec
from django.db import migrations, models

# Searches join the rows with memories, whose policy has all of the rule. This one repeats that a tier is hidden.
ROW_LEVEL_SECURITY = """
ALTER TABLE memory_embeddings ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_embeddings FORCE ROW LEVEL SECURITY;
CREATE POLICY memory_embeddings_select ON memory_embeddings FOR SELECT USING (
    (CASE WHEN (SELECT firewall_setting('writer_sources')) = '*'
              OR tier = ANY ((SELECT firewall_setting_array('tiers'))::varchar[])
     THEN true END) IS NOT NULL
);
CREATE POLICY memory_embeddings_insert ON memory_embeddings FOR INSERT
    WITH CHECK ((SELECT firewall_setting('writer_sources')) = '*');
CREATE POLICY memory_embeddings_update ON memory_embeddings FOR UPDATE
    USING ((SELECT firewall_setting('writer_sources')) = '*');
"""
NO_ROW_LEVEL_SECURITY = """
DROP POLICY memory_embeddings_update ON memory_embeddings;
DROP POLICY memory_embeddings_insert ON memory_embeddings;
DROP POLICY memory_embeddings_select ON memory_embeddings;
ALTER TABLE memory_embeddings NO FORCE ROW LEVEL SECURITY;
ALTER TABLE memory_embeddings DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("memories", "0007_word_index")]
    operations = [
        migrations.CreateModel(
            name="EmbeddingModel",
            fields=[
                ("id", models.SmallAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(help_text="With a digest of all that determines the vectors.", max_length=255, unique=True)),
                ("dimensions", models.PositiveIntegerField()),
                ("embedded_through", models.DateTimeField(help_text="Record time up to which all versions have a row in memory_embeddings.")),
                ("closed_through", models.DateTimeField(help_text="Record time up to which the rows of versions that were superseded are marked as not live.")),
            ],
            options={"db_table": "embedding_models"},
        ),
        migrations.CreateModel(
            name="MemoryEmbedding",
            fields=[
                ("pk", models.CompositePrimaryKey("model_id", "row_id", blank=True, editable=False, primary_key=True, serialize=False)),
                ("tier", models.CharField(max_length=64)),
                ("is_live", models.BooleanField(help_text="The version is current and not quarantined.")),
                ("embedding", pgvector.django.halfvec.HalfVectorField(help_text="At unit length. Null if the model refuses the text.", null=True)),
                ("model", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to="search.embeddingmodel")),
                ("row", models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name="+", to="memories.memory")),
            ],
            options={"db_table": "memory_embeddings"},
        ),
        migrations.RunSQL(ROW_LEVEL_SECURITY, NO_ROW_LEVEL_SECURITY),
    ]
