"""Finding memories by a text that is masked: a reveal, for who may reveal, and the ledger tells of it.

No index holds what is masked. The memories that hold a secret are few, and are read one by one: the newest of those
that the filters find.
"""

from dataclasses import dataclass
from uuid import UUID

from memoryhub.audit import ledger
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Principal, Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.querysets import HOLDS_SECRET, fetched
from memoryhub.memories.records import WHOLE, Record, newest

MAX_READ = 1_000
MAX_FOUND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMatches:
    """The memories whose content, as it was written, contains a text; the newest first."""

    records: list[Record]
    capped: bool
    """Whether there are more memories with secrets than were read, or more matches than are answered."""

    @property
    def memory_ids(self) -> list[UUID]:
        return [record["memory_id"] for record in self.records]


def search_secrets(
    filters: MemoryFilterSet, text: str, *, by: Principal, route: str = "", request_id: str = ""
) -> SecretMatches:
    """The memories that `filters` find and whose content, as it was written, contains `text`.

    Of those with secrets the newest `MAX_READ` are read, and `MAX_FOUND` matches at most are answered. The entry in the
    ledger names what was found, and not the text. Raises PermissionDenied for who may not reveal.
    """
    by.require(Scope.INSPECT)
    with wall.behind(by.clearance):
        found = _search(filters, text)
        ledger.append(
            ledger.Event(
                principal=by.name,
                action="memory.reveal",
                memory_ids=found.memory_ids,
                reach=reach_of(by.clearance),
                route=route,
                request_id=request_id,
            )
        )
    return found


def _search(filters: MemoryFilterSet, text: str) -> SecretMatches:
    secret = filters.candidates.read_for(filters.sought).filter(HOLDS_SECRET)
    rows, params = secret.newest(MAX_READ + 1, "content")
    read = fetched(_MATCHES.format(rows=rows), [text, *params])
    matching = [row["memory_id"] for row in read[:MAX_READ] if row["is_match"]]
    found = newest(secret.filter(memory_id__in=matching[:MAX_FOUND]), MAX_FOUND, WHOLE) if matching else []
    return SecretMatches(records=found, capped=len(read) > MAX_READ or len(matching) > MAX_FOUND)


_MATCHES = """
SELECT memory_id, memory_fold(content) LIKE memory_pattern(%s) AS is_match FROM ({rows}) AS secret
ORDER BY "timestamp" DESC, memory_id DESC
"""
