"""The point in time of a page: the instants in its address, which every link of the page keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from memoryhub.memories.filter_fields import InstantField
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS
from memoryhub.memories.point_in_time import NOW, PointInTime

BOTH_AXES = "both"
# Pages that show memories at an instant. The time form leads back to them, and from any other page to the list.
TIME_TRAVEL_ROUTES = {
    "inspector:memory-list", "inspector:memory-list-path", "inspector:memory-detail", "inspector:subject-detail",
    "inspector:conflict-list", "inspector:conflict-detail",
}  # fmt: skip
# POST routes, with the routes that show the same page under an address that can be reloaded.
CANONICAL_ROUTES = {
    "inspector:memory-unmask": "inspector:memory-detail",
    "inspector:memory-classify": "inspector:memory-detail",
    "inspector:conflict-resolve": "inspector:conflict-detail",
    "inspector:conflict-similar": "inspector:conflict-detail",
}
TIME_AWARE_ROUTES = {*TIME_TRAVEL_ROUTES, *CANONICAL_ROUTES, "inspector:memories-classify"}
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeClause:
    """One axis of the point in time; `phrase` introduces the instant."""

    phrase: str
    instant: datetime
    axis: str

    @property
    def display_instant(self) -> str:
        return format_instant(self.instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeContext:
    """The instants of a page, as text in its address and as the effective point in time."""

    instant_params: Mapping[str, str]
    point_in_time: PointInTime = NOW
    page_url: str = ""
    """The page to which the time form returns."""

    @property
    def is_now(self) -> bool:
        return not self.instant_params

    @property
    def has_known_at(self) -> bool:
        """Whether the page shows an earlier state of knowledge, which cannot be changed."""
        return "known_at" in self.instant_params

    @property
    def axis(self) -> str:
        return BOTH_AXES if len(self.instant_params) > 1 else next(iter(self.instant_params), "known_at")

    @property
    def instant(self) -> datetime | None:
        return self.point_in_time.known_at or self.point_in_time.as_of

    @property
    def input_value(self) -> str:
        """The instant as value of a datetime input: in UTC, to the second."""
        return self.instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").zfill(19) if self.instant else ""

    @property
    def iso_value(self) -> str:
        return format_iso_instant(self.instant) if self.instant else ""

    @property
    def clauses(self) -> list[TimeClause]:
        clauses = []
        if self.point_in_time.known_at:
            clauses.append(
                TimeClause(phrase="what was known on", instant=self.point_in_time.known_at, axis="record time")
            )
        if self.point_in_time.as_of:
            phrase = "of what had happened by" if clauses else "what had happened by"
            clauses.append(TimeClause(phrase=phrase, instant=self.point_in_time.as_of, axis="event time"))
        return clauses

    @property
    def label(self) -> str:
        return format_instant(self.instant) if self.instant else "Now"

    @property
    def now_url(self) -> str:
        return replace_instants(self.page_url, {})

    def add_to_url(self, url: str) -> str:
        """Add the instants of the page to `url`."""
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.instant_params)}" if self.instant_params else url


def parse_instants(data: QueryDict) -> dict[str, str]:
    """Return the valid instants of an address; invalid ones are dropped."""
    return {name: value for name in POINT_IN_TIME_PARAMS if (value := data.get(name)) and parse_instant(value)}


def parse_instant(text: str) -> datetime | None:
    try:
        instant: datetime | None = InstantField().to_python(text)
    except ValidationError:
        return None
    return instant


def get_time_context(request: HttpRequest, point_in_time: PointInTime | None = None) -> TimeContext:
    """Return the time context of `request`; `point_in_time` is the effective one, if the page knows it already."""
    if point_in_time is None and isinstance(cached_context := getattr(request, "time_context", None), TimeContext):
        return cached_context
    match = request.resolver_match
    route = match.view_name if match else ""
    instant_params = parse_instants(request.GET) if route in TIME_AWARE_ROUTES else {}
    if point_in_time is None:
        point_in_time = PointInTime(**{name: parse_instant(value) for name, value in instant_params.items()})  # type: ignore[arg-type]
    page_time = TimeContext(
        instant_params=instant_params, point_in_time=point_in_time, page_url=_get_canonical_url(request, route)
    )
    request.time_context = page_time  # type: ignore[attr-defined]
    return page_time


def _get_canonical_url(request: HttpRequest, route: str) -> str:
    if route in CANONICAL_ROUTES and request.resolver_match:
        path = reverse(CANONICAL_ROUTES[route], kwargs=request.resolver_match.kwargs)
        return f"{path}?{request.GET.urlencode()}"
    if route in TIME_TRAVEL_ROUTES:
        return request.get_full_path()
    return reverse("inspector:memory-list")


def replace_instants(url: str, instant_params: Mapping[str, str]) -> str:
    """Return `url` with other instants. Its cursor is dropped, because it is only valid for the old ones."""
    parts = urlsplit(url)
    query = QueryDict(parts.query, mutable=True)
    for name in (*POINT_IN_TIME_PARAMS, "cursor"):
        query.pop(name, None)
    if "back" in query:
        list_params = QueryDict(str(query["back"]), mutable=True)
        list_params.pop("cursor", None)
        query["back"] = list_params.urlencode()
    query.update(instant_params)
    return parts._replace(query=query.urlencode()).geturl()


def format_iso_instant(instant: datetime) -> str:
    """Format an instant for an address, in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def format_instant(instant: datetime) -> str:
    """Format an instant in words, without loss of precision."""
    utc = instant.astimezone(UTC)
    day = f"{utc.day} {utc:%b} {utc.year:04d}"
    if (utc - utc.replace(hour=0, minute=0, second=0, microsecond=0)) == _DAY - _MICROSECOND:
        return f"the end of {day} UTC"
    seconds = f":{utc:%S}" if utc.second or utc.microsecond else ""
    fraction = f".{utc:%f}".rstrip("0") if utc.microsecond else ""
    return f"{day}, {utc:%H:%M}{seconds}{fraction} UTC"


def format_instant_params(point_in_time: PointInTime) -> dict[str, str]:
    """Return a point in time as parameters of an address."""
    instants_by_name = {"as_of": point_in_time.as_of, "known_at": point_in_time.known_at}
    return {name: format_iso_instant(instant) for name, instant in instants_by_name.items() if instant}
