"""The vectors of memories. Each belongs to a model, and only vectors of the same model are compared."""

from typing import ClassVar

from django.db import models
from pgvector.django import HalfVectorField

MODEL_NAME_LENGTH = 255


class EmbeddingModel(models.Model):
    """A model that has embedded memories, and how far it has come."""

    id = models.SmallAutoField(primary_key=True)
    name = models.CharField(
        max_length=MODEL_NAME_LENGTH, unique=True, help_text="With a digest of all that determines the vectors."
    )
    dimensions = models.PositiveIntegerField()
    embedded_through = models.DateTimeField(
        help_text="Record time up to which all versions have a row in memory_embeddings."
    )
    closed_through = models.DateTimeField(
        help_text="Record time up to which the rows of versions that were superseded are marked as not live."
    )

    objects: ClassVar[models.Manager["EmbeddingModel"]] = models.Manager()

    class Meta:
        db_table = "embedding_models"

    def __str__(self) -> str:
        return self.name


class MemoryEmbedding(models.Model):
    """The vector of the searched text of one version of a memory: its content with secrets masked.

    The worker adds it, so a write does not wait for a model. Live rows are those that an index of a tier may hold. A
    version that was superseded is not live: a reader of its tier may not be allowed to see the memory as it is now.
    """

    pk = models.CompositePrimaryKey("model_id", "row_id")
    model = models.ForeignKey(EmbeddingModel, on_delete=models.DO_NOTHING, db_index=False)
    row = models.ForeignKey(
        "memories.Memory", on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    tier = models.CharField(max_length=64)
    is_live = models.BooleanField(help_text="The version is current and not quarantined.")
    embedding = HalfVectorField(null=True, help_text="At unit length. Null if the model refuses the text.")

    objects: ClassVar[models.Manager["MemoryEmbedding"]] = models.Manager()

    class Meta:
        db_table = "memory_embeddings"

    def __str__(self) -> str:
        return str(self.pk)
