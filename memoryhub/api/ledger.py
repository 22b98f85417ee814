"""The ledger over the API: who did and who read what, as far as the caller may see."""

from dataclasses import asdict
from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.permissions import principal, walled
from memoryhub.api.views import View
from memoryhub.firewall.types import Scope
from memoryhub.memories.records import for_people
from memoryhub.ops import reads, trail_query


class LedgerView(View):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.AUDIT}

    @docs.ledger
    @walled
    def get(self, request: Request) -> Response:
        # What was read a moment ago stands there, too.
        reads.flush()
        found = trail_query.entries(request.query_params, principal(request))
        entries = [asdict(entry) for entry in found.entries]
        shown = entries if request.auth else list(map(for_people, entries))
        return Response({"entries": shown, "next_cursor": found.next_cursor, "has_more": found.next_cursor is not None})
