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

from memoryhub.config import APP_ROLE
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import ApiKey
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.operations import database_roles, process
from memoryhub.transfer.jsonl_import import import_lines
from tests.factories import make_key
from tests.harness.databases import DatabaseHandle, migrated_database_name, temporary_database
from tests.noninterference.reads.rows import resolve_as_high
from tests.noninterference.worlds import WorldCaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A key. `source` is empty for an admin that names the source in each envelope."""

    source: str
    clearance: Mapping[str, Any]
    scopes: str = "read write"
    actor_id: str = ""
    delegated_actor_types: tuple[str, ...] = ()
    usual_fields: Mapping[str, Any] = field(default_factory=dict)
    """The fields without which this writer's clearance refuses what it writes."""

    @property
    def source_clearance(self) -> Clearance:
        return to_clearance(self.clearance)

    @property
    def may_declassify(self) -> bool:
        return "admin" in self.scopes.split()


def to_clearance(fields: Mapping[str, Any]) -> Clearance:
    return Clearance(
        max_tier=fields["max_tier"],
        blocked_labels=frozenset(fields.get("blocked_labels", ())),
        required_labels=frozenset(fields.get("required_labels", ())),
        namespaces=frozenset(fields["namespaces"]) if "namespaces" in fields else None,
    )


NOT_SEALED = {"blocked_labels": ["sealed"]}
# In this order the keys are made, and so a source gets the clearance of the first key that names it: `duo` that of
# duo-low. Nobody but root may see the label `sealed` or the tier `restricted`.
WRITERS: dict[str, Writer] = {
    "labels": Writer(
        source="mail",
        clearance={"max_tier": "internal", "blocked_labels": ["sealed", "pii"], "required_labels": ["eu"]},
        usual_fields={"sensitivity_labels": ["eu"]},
    ),
    "spaces": Writer(
        source="crm",
        clearance={"max_tier": "internal", **NOT_SEALED, "all_namespaces": False, "namespaces": ["alpha", "beta"]},
        actor_id="crm-bot",
        usual_fields={"namespace": "alpha"},
    ),
    "duo-low": Writer(source="duo", clearance={"max_tier": "internal", **NOT_SEALED}, delegated_actor_types=("user",)),
    "duo-high": Writer(source="duo", clearance={"max_tier": "confidential", **NOT_SEALED}),
    "desk": Writer(source="desk", clearance={"max_tier": "confidential", **NOT_SEALED}, scopes="admin"),
    "root": Writer(source="", clearance={"max_tier": "restricted"}, scopes="admin"),
}
SOURCE_CLEARANCES: dict[str, Clearance] = {
    "mail": WRITERS["labels"].source_clearance,
    "crm": WRITERS["spaces"].source_clearance,
    "duo": WRITERS["duo-low"].source_clearance,
    "desk": WRITERS["desk"].source_clearance,
}
"""The clearance for writing of each of the writers' sources."""
USUAL_FIELDS: dict[str, Mapping[str, Any]] = {
    writer.source: writer.usual_fields for writer in WRITERS.values() if writer.source
}
# Who works in the world with hidden rows alone.
VAULT_WRITER = Writer(source="vault", clearance={"max_tier": "restricted"})
STEWARD_WRITER = Writer(source="", clearance={"max_tier": "restricted"}, scopes="read curate declassify")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWorlds:
    """`plain` is a database without hidden rows in which nobody reclassifies anything; `crowded` has both."""

    plain: DatabaseHandle
    crowded: DatabaseHandle
    callers: Mapping[str, WorldCaller]
    principals: Mapping[str, str]


def import_rows(lines: Iterable[Mapping[str, Any]], on_conflict: OnConflict = OnConflict.REFUSE) -> None:
    """What the shell's import_memories does with a file of these lines."""
    text = "".join(json.dumps(dict(line)) + "\n" for line in lines)
    import_lines(io.BytesIO(text.encode()), on_conflict=on_conflict)


# Before any writer writes, one value of this subject and collection was rejected. A reader who sees one of these
# memories may see all of them, and the decision.
DECIDED_ROWS: tuple[Mapping[str, Any], ...] = tuple(
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
def create_write_worlds() -> Iterator[WriteWorlds]:
    """Two copies of one hub in which every writer has a key. The key of the vault is made later, in one of them."""
    with temporary_database(migrated_database_name(), as_application=True) as template:
        with template.activate():
            with database_roles.connect_as_owner():
                database_roles.grant_app_privileges(APP_ROLE)
            secrets = {
                name: create_writer_key(writer) for name, writer in (*WRITERS.items(), ("steward", STEWARD_WRITER))
            }
            import_rows(DECIDED_ROWS)
            assert resolve_as_high(("user:bob", "city"), "keep_one", content="Rome.")
            principals = {name: f"key:{key_name(secret)}" for name, secret in secrets.items()}
        template.close()
        callers = {name: caller_with_key(secret) for name, secret in secrets.items()}
        uptime_patch = mock.patch.object(process, "_THIS_PROCESS", (1, time.monotonic() - 2_000_000))
        copy = partial(temporary_database, template.name, as_application=True)
        with copy() as plain_world, copy() as crowded_world, uptime_patch:
            yield WriteWorlds(plain=plain_world, crowded=crowded_world, callers=callers, principals=principals)


def create_writer_key(writer: Writer) -> str:
    """The secret of a new key in the present world."""
    return make_key(
        scopes=writer.scopes,
        source=writer.source,
        clearance=dict(writer.clearance),
        actor_id=writer.actor_id,
        delegated_actor_types=list(writer.delegated_actor_types),
    )


def key_name(secret: str) -> str:
    name: str = ApiKey.objects.get(token_key=secret[:15]).name
    return name


def caller_with_key(secret: str) -> WorldCaller:
    return WorldCaller({"Authorization": f"Bearer {secret}"})
