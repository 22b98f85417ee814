"""Which memories of a list are disputed: members of a group that is open for whoever reads the list, at its moment."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import BinaryField, Exists, F, Func, OuterRef

from memoryhub.conflicts.keys import Key, id_of
from memoryhub.conflicts.listing import OfKey
from memoryhub.conflicts.models import Decision
from memoryhub.conflicts.querysets import AnyOf
from memoryhub.firewall.types import Clearance
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import Moment
from memoryhub.memories.querysets import compiled, fetched

_OF_KEY = {name: OfKey(name=name) for name in ("subject", "collection")}


class OfOne(Func):
    """The content of one memory of the key."""

    output_field = BinaryField()
    template = "one.content_sha256"


def disputed(records: Iterable[Mapping[str, Any]], *, clearance: Clearance, moment: Moment) -> dict[UUID, str]:
    """The ids of the open groups that these memories belong to, by their memory ids; those of no group are left out.

    `records` tell memory_id, subject, collection and status. One question, which looks each key up.
    """
    keyed: dict[Key, list[UUID]] = {}
    for record in records:
        if record["subject"] and record["collection"] and record["status"] == "active":
            keyed.setdefault((record["subject"], record["collection"]), []).append(record["memory_id"])
    if not keyed:
        return {}
    opened = _open(list(keyed), clearance, moment)
    return {memory_id: id_of(*key) for key in opened for memory_id in keyed[key]}


def _open(wanted: list[Key], clearance: Clearance, moment: Moment) -> list[Key]:
    rows = moment.active(Memory.objects.visible_to(clearance)).filter(**_OF_KEY)
    unsettled = rows.exclude(AnyOf(F("content_sha256"), OuterRef("settled")))
    about = Decision.objects.visible_to(clearance).in_force(moment.known_at).filter(namespace__isnull=True, **_OF_KEY)
    parts = {
        "one": rows.values("content_sha256")[:1],
        "greater": rows.filter(content_sha256__gt=OfOne()).values("id")[:1],
        "smaller": rows.filter(content_sha256__lt=OfOne()).values("id")[:1],
        "settling": about.filter(~Exists(unsettled)).values("id")[:1],
    }
    asked = {name: compiled(part) for name, part in parts.items()}
    sql = _DISPUTED.format(**{name: part for name, (part, _) in asked.items()})
    lists = [list(column) for column in zip(*wanted, strict=True)]
    found = fetched(sql, [*lists, *(param for _, params in asked.values() for param in params)])
    return [wanted[row["place"] - 1] for row in found]


# What differs is greater or smaller, and each is one step in an index where the contents of a key stand in order.
_DISPUTED = """
SELECT keys.place::integer
FROM unnest(%s::varchar[], %s::varchar[]) WITH ORDINALITY AS keys(subject, collection, place)
CROSS JOIN LATERAL ({one}) AS one
WHERE (({greater}) IS NOT NULL OR ({smaller}) IS NOT NULL) AND ({settling}) IS NULL
"""
