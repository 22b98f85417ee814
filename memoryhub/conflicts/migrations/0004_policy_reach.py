"""Policies carry what their maker could see, as their runs do.

Of policies that were made before, it is what their maker may see by now, and everything where that is not known.
"""

from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from memoryhub.firewall.reach import reach_columns, reach_of
from memoryhub.firewall.types import Clearance, everything, tier_order


_MADE = """
SELECT DISTINCT policy_id, c.id IS NOT NULL, max_tier, blocked_labels, required_labels, every_namespace, namespaces
FROM policies AS p LEFT JOIN (
    SELECT 'user:' || username AS principal, clearance_id
    FROM auth_user AS u JOIN user_clearances AS held ON held.user_id = u.id
    UNION ALL SELECT 'key:' || name, clearance_id FROM api_keys
) AS maker ON maker.principal = p.principal LEFT JOIN clearances AS c ON c.id = maker.clearance_id
"""
_CARRY = """
UPDATE policies SET reach_tiers = %(reach_tiers)s::text[], reach_blocked = %(reach_blocked)s::text[],
    reach_required = %(reach_required)s::text[], reach_namespaces = %(reach_namespaces)s::text[]
WHERE policy_id = %(policy_id)s
"""


def carry_over(_apps: Any, schema_editor: Any) -> None:
    makers: dict[UUID, list[Clearance]] = {}
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_MADE)
        for policy_id, is_known, *held in cursor.fetchall():
            makers.setdefault(policy_id, []).append(_clearance(*held) if is_known else everything())
        for policy_id, found in makers.items():
            # All versions carry the same. Where their makers do not see the same, that of nobody is enough.
            reach = reach_of(found[0] if found.count(found[0]) == len(found) else everything())
            cursor.execute(_CARRY, {"policy_id": policy_id, **reach_columns(reach)})


def _clearance(
    max_tier: str, blocked: list[str], required: list[str], every_namespace: bool, namespaces: list[str]
) -> Clearance:
    return Clearance(
        max_tier=max_tier,
        blocked_labels=frozenset(blocked),
        required_labels=frozenset(required),
        namespaces=None if every_namespace else frozenset(namespaces),
    )


class Migration(migrations.Migration):
    dependencies = [
        ("conflicts", "0003_policy_runs_undone"),
        ("firewall", "0002_keys_speak_for_actors"),
    ]
    operations = [
        migrations.AddField(
            model_name="policy",
            name="reach_tiers",
            field=ArrayField(models.TextField(), default=tier_order),
            preserve_default=False,
        ),
        migrations.AddField("policy", "reach_blocked", ArrayField(models.TextField(), default=list)),
        migrations.AddField("policy", "reach_required", ArrayField(models.TextField(), default=list)),
        migrations.AddField(
            "policy", "reach_namespaces", ArrayField(models.TextField(), null=True, help_text="NULL: every namespace.")
        ),
        migrations.RunPython(carry_over, migrations.RunPython.noop),
    ]
