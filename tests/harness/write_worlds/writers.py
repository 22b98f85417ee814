"""Six writers of differing clearances, the sources they write as, and two databases in which they are the same."""

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

from memoryhub.config import APPLICATION
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.types import Clearance
from memoryhub.memories.ingest import OnConflict
from memoryhub.ops import process, roles
from memoryhub.ops.importing import import_lines
from tests.builders import make_key
from tests.harness.databases import World, migrated, world
from tests.harness.two_worlds.rows import decide_above
from tests.harness.worlds import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A key. `source` is empty for an admin that names the source in each envelope."""

    source: str
    clearance: Mapping[str, Any]
    scopes: str = "read write"
    actor_id: str = ""
    vouches_for: tuple[str, ...] = ()
    usual: Mapping[str, Any] = field(default_factory=dict)
    """The fields without which this writer's clearance refuses what it writes."""

    @property
    def reach(self) -> Clearance:
        return clearance_of(self.clearance)

    @property
    def may_declassify(self) -> bool:
        return "admin" in self.scopes.split()


def clearance_of(fields: Mapping[str, Any]) -> Clearance:
    return Clearance(
        max_tier=fields["max_tier"],
        blocked_labels=frozenset(fields.get("blocked_labels", ())),
        required_labels=frozenset(fields.get("required_labels", ())),
        namespaces=frozenset(fields["namespaces"]) if "namespaces" in fields else None,
    )


SEALED = {"blocked_labels": ["sealed"]}
# In this order the keys are made, and so a source gets the clearance of the first key that names it: `duo` that of
# duo-low. Nobody but root may see the label `sealed` or the tier `restricted`.
WRITERS: dict[str, Writer] = {
    "labels": Writer(
        source="mail",
        clearance={"max_tier": "internal", "blocked_labels": ["sealed", "pii"], "required_labels": ["eu"]},
        usual={"sensitivity_labels": ["eu"]},
    ),
    "spaces": Writer(
        source="crm",
        clearance={"max_tier": "internal", **SEALED, "every_namespace": False, "namespaces": ["alpha", "beta"]},
        actor_id="crm-bot",
        usual={"namespace": "alpha"},
    ),
    "duo-low": Writer(source="duo", clearance={"max_tier": "internal", **SEALED}, vouches_for=("user",)),
    "duo-high": Writer(source="duo", clearance={"max_tier": "confidential", **SEALED}),
    "desk": Writer(source="desk", clearance={"max_tier": "confidential", **SEALED}, scopes="admin"),
    "root": Writer(source="", clearance={"max_tier": "restricted"}, scopes="admin"),
}
SOURCES: dict[str, Clearance] = {
    "mail": WRITERS["labels"].reach,
    "crm": WRITERS["spaces"].reach,
    "duo": WRITERS["duo-low"].reach,
    "desk": WRITERS["desk"].reach,
}
"""The clearance for writing of each of the writers' sources."""
USUAL: dict[str, Mapping[str, Any]] = {writer.source: writer.usual for writer in WRITERS.values() if writer.source}
# Who works in the world with hidden rows alone.
VAULT = Writer(source="vault", clearance={"max_tier": "restricted"})
STEWARD = Writer(source="", clearance={"max_tier": "restricted"}, scopes="read inspect declassify")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWorlds:
    """`plain` is a database without hidden rows in which nobody reclassifies anything; `crowded` has both."""

    plain: World
    crowded: World
    callers: Mapping[str, Caller]
    principals: Mapping[str, str]


def import_rows(lines: Iterable[Mapping[str, Any]], on_conflict: OnConflict = OnConflict.REFUSE) -> None:
    """What the shell's import_memories does with a file of these lines."""
    text = "".join(json.dumps(dict(line)) + "\n" for line in lines)
    import_lines(io.BytesIO(text.encode()), on_conflict=on_conflict)


# Before any writer writes, one value of this subject and collection was rejected. Whoever may see one of these memories
# may see all of them, and the decision.
DECIDED: tuple[Mapping[str, Any], ...] = tuple(
    {
        "source": "base",
        "payload_id": f"b-{content}",
        "subject": "user:bob",
        "collection": "city",
        "namespace": "alpha",
        "content": content,
    }
    for content in ("Rome.", "Oslo.")
)


@contextmanager
def write_worlds() -> Iterator[WriteWorlds]:
    """Two copies of one hub in which every writer has a key. The key of the vault is made later, in one of them."""
    with world(migrated(), as_application=True) as template:
        with template.entered():
            with roles.as_owner():
                roles.grant(APPLICATION)
            secrets = {name: make_writers_key(writer) for name, writer in (*WRITERS.items(), ("steward", STEWARD))}
            import_rows(DECIDED)
            assert decide_above(("user:bob", "city"), "keep_one", content="Rome.")
            principals = {name: f"key:{name_of_key(secret)}" for name, secret in secrets.items()}
        template.close()
        callers = {name: caller_with(secret) for name, secret in secrets.items()}
        long_ago = mock.patch.object(process, "_THIS_PROCESS", (1, time.monotonic() - 2_000_000))
        copy = partial(world, template.name, as_application=True)
        with copy() as plain, copy() as crowded, long_ago:
            yield WriteWorlds(plain=plain, crowded=crowded, callers=callers, principals=principals)


def make_writers_key(writer: Writer) -> str:
    """The secret of a new key in the present world."""
    return make_key(
        scopes=writer.scopes,
        source=writer.source,
        clearance=dict(writer.clearance),
        actor_id=writer.actor_id,
        vouches_for=list(writer.vouches_for),
    )


def name_of_key(secret: str) -> str:
    name: str = ApiKey.objects.get(token_key=secret[:15]).name
    return name


def caller_with(secret: str) -> Caller:
    return Caller({"Authorization": f"Bearer {secret}"})
