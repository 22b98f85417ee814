"""Where in time a page stands: the instants that its address names, which every link of the page keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from memoryhub.memories.filters import MOMENT, InstantField
from memoryhub.memories.moment import NOW, Moment

BOTH = "both"
# Pages that show memories at an instant: a choice of another one leads back to them, from elsewhere to the list.
TRAVELLERS = {
    "inspector:memories", "inspector:memories-list", "inspector:memory", "inspector:subject", "inspector:conflicts",
    "inspector:conflict",
}  # fmt: skip
# Pages made of another one's address, by the route that shows the same to whoever comes back.
SHOWN_BY = {
    "inspector:memory-reveal": "inspector:memory",
    "inspector:memory-labels": "inspector:memory",
    "inspector:conflict-decide": "inspector:conflict",
    "inspector:conflict-similar": "inspector:conflict",
}
AT_AN_INSTANT = {*TRAVELLERS, *SHOWN_BY, "inspector:labels"}
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One axis of what is looked at: `words` lead up to the instant."""

    words: str
    instant: datetime
    axis: str

    @property
    def shown(self) -> str:
        return said(self.instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standpoint:
    """The instants of a page as its address names them, and as they are in effect."""

    asked: Mapping[str, str]
    moment: Moment = NOW
    here: str = ""
    """The address of the page that a choice of another instant leads back to."""

    @property
    def is_now(self) -> bool:
        return not self.asked

    @property
    def is_known_then(self) -> bool:
        """Whether it is told from an earlier knowledge, of which nothing can be changed any more."""
        return "known_at" in self.asked

    @property
    def axis(self) -> str:
        return BOTH if len(self.asked) > 1 else next(iter(self.asked), "known_at")

    @property
    def instant(self) -> datetime | None:
        return self.moment.known_at or self.moment.as_of

    @property
    def typed(self) -> str:
        """The instant as an input of a form holds it: in UTC, to the second."""
        return self.instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").zfill(19) if self.instant else ""

    @property
    def exactly(self) -> str:
        return as_parameter(self.instant) if self.instant else ""

    @property
    def clauses(self) -> list[Clause]:
        said = []
        if self.moment.known_at:
            said.append(Clause(words="what was known on", instant=self.moment.known_at, axis="record time"))
        if self.moment.as_of:
            had_happened = "of what had happened by" if said else "what had happened by"
            said.append(Clause(words=had_happened, instant=self.moment.as_of, axis="event time"))
        return said

    @property
    def short(self) -> str:
        return said(self.instant) if self.instant else "Now"

    @property
    def now_url(self) -> str:
        return changed(self.here, {})

    def keep(self, url: str) -> str:
        """`url`, looked at from here in time."""
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.asked)}" if self.asked else url


def instants(data: QueryDict) -> dict[str, str]:
    """The instants that an address names; what is none is none."""
    return {name: value for name in MOMENT if (value := data.get(name)) and parsed(value)}


def parsed(text: str) -> datetime | None:
    try:
        found: datetime | None = InstantField().to_python(text)
    except ValidationError:
        return None
    return found


def stand(request: HttpRequest, moment: Moment | None = None) -> Standpoint:
    """Where `request` stands; `moment` is what is in effect there, once the page knows."""
    if moment is None and isinstance(known := getattr(request, "standpoint", None), Standpoint):
        return known
    match = request.resolver_match
    route = match.view_name if match else ""
    asked = instants(request.GET) if route in AT_AN_INSTANT else {}
    if moment is None:
        moment = Moment(**{name: parsed(value) for name, value in asked.items()})  # type: ignore[arg-type]
    made = Standpoint(asked=asked, moment=moment, here=_here(request, route))
    request.standpoint = made  # type: ignore[attr-defined]
    return made


def _here(request: HttpRequest, route: str) -> str:
    if route in SHOWN_BY and request.resolver_match:
        path = reverse(SHOWN_BY[route], kwargs=request.resolver_match.kwargs)
        return f"{path}?{request.GET.urlencode()}"
    if route in TRAVELLERS:
        return request.get_full_path()
    return reverse("inspector:memories")


def changed(address: str, asked: Mapping[str, str]) -> str:
    """`address` at the instants `asked`, in the place of its own. A cursor belongs to the instants it was given for."""
    parts = urlsplit(address)
    query = QueryDict(parts.query, mutable=True)
    for name in (*MOMENT, "cursor"):
        query.pop(name, None)
    if "list" in query:
        listed = QueryDict(str(query["list"]), mutable=True)
        listed.pop("cursor", None)
        query["list"] = listed.urlencode()
    query.update(asked)
    return parts._replace(query=query.urlencode()).geturl()


def as_parameter(instant: datetime) -> str:
    """An instant as a permalink holds it: in UTC, whatever it was typed in."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def said(instant: datetime) -> str:
    """An instant in words, as exactly as it is meant."""
    utc = instant.astimezone(UTC)
    day = f"{utc.day} {utc:%b} {utc.year:04d}"
    if (utc - utc.replace(hour=0, minute=0, second=0, microsecond=0)) == _DAY - _MICROSECOND:
        return f"the end of {day} UTC"
    seconds = f":{utc:%S}" if utc.second or utc.microsecond else ""
    fraction = f".{utc:%f}".rstrip("0") if utc.microsecond else ""
    return f"{day}, {utc:%H:%M}{seconds}{fraction} UTC"


def instants_of(moment: Moment) -> dict[str, str]:
    """The instants of a moment as an address names them."""
    held = {"as_of": moment.as_of, "known_at": moment.known_at}
    return {name: as_parameter(instant) for name, instant in held.items() if instant}
