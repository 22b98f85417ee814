"""A claim of each steward on a group, so that a claim is never lost to one that its holder is not told of."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conflicts", "0004_policy_reach")]
    operations = [
        migrations.RemoveConstraint(model_name="claim", name="conflict_claims_of_a_key"),
        # On the way back there is room for one claim of a group. All of them end within minutes anyway.
        migrations.RunSQL(migrations.RunSQL.noop, "DELETE FROM conflict_claims"),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.UniqueConstraint(
                fields=("subject", "collection", "namespace", "principal"),
                name="conflict_claims_of_a_principal",
                nulls_distinct=False,
            ),
        ),
    ]
