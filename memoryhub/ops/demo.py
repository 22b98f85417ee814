"""The demo's memories: one company, its agents, 120 days. `demo_story` has the words, `demo_writers` the envelopes.

This module has the clock and the dice: everything is derived from the seed and the end of the story, so that two
machines show the same pages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from random import Random

from memoryhub.ops import demo_story as story
from memoryhub.ops.demo_story import Attribute, Step, Topic
from memoryhub.ops.demo_writers import Note, as_written, dress

DAYS = 120
TOTAL = 12_000
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TIERS = {"p": "public", "i": "internal", "c": "confidential", "r": "restricted"}
OFFICE_HOURS = (0, 0, 0, 0, 1, 2, 5, 12, 20, 22, 21, 17, 12, 17, 20, 19, 15, 10, 7, 5, 4, 3, 1, 0)
MACHINE_HOURS = (6, 6, 5, 5, 9, 11, 10, 10, 12, 12, 12, 10, 9, 10, 12, 12, 10, 8, 7, 7, 7, 6, 6, 6)
REORGANISED_TEAMS = ("routing", "driver-app")


def envelopes(*, seed: int = 7, until: datetime) -> Iterator[dict[str, object]]:
    """About 12,000 envelopes in the order of their event time, the last one not after `until` (aware).

    Written in this order with on_conflict=update they make the demo: a payload_id that comes back with other content is
    a new version, one that comes back unchanged is a replay. The same arguments give the same envelopes.
    """
    teller = _Teller(seed, until)
    for note in sorted(map(as_written, teller.tell()), key=lambda note: note.at):
        is_upgraded = note.at >= teller.start + timedelta(days=DAYS / 2)
        envelope = dress(note, dice=teller.dice, seed=seed, is_upgraded=is_upgraded)
        yield envelope
        if teller.dice.random() < 0.0042:  # the answer got lost and the agent sent it again
            yield dict(envelope)


@dataclass
class _Teller:
    seed: int
    until: datetime
    dice: Random = field(init=False)
    threads: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)  # noqa: S311 - a story that repeats itself is the point; no secret
        self.until = self.until.astimezone(UTC)
        self.start = self.until - timedelta(days=DAYS)
        first = self.start.date() + timedelta(days=1)
        self.monday = first + timedelta(days=-first.weekday() % 7)
        self.reorganised = self.moment("6", "Mon")
        self.renamed = self.moment("11", "Tue")

    # When

    def moment(self, week: str, weekday: str, clock: str = "00:00") -> datetime:
        day = self.monday + timedelta(weeks=int(week), days=WEEKDAYS.index(weekday))
        return datetime.combine(day, time.fromisoformat(clock), UTC)

    def any_moment(self, source: str) -> datetime:
        """People and the agents that follow them keep office hours; machines do so a little."""
        machine = source == "ops-watch"
        hours, weekend = (MACHINE_HOURS, 0.5) if machine else (OFFICE_HOURS, 0.16)
        while True:
            day = self.start.date() + timedelta(days=self.dice.randrange(DAYS + 1))
            growth = 0.75 + 0.25 * (day - self.start.date()).days / DAYS
            if self.dice.random() > growth * (weekend if day.weekday() > 4 else 1.0):
                continue
            moment = self.within_hour(day, self.dice.choices(range(24), hours)[0])
            if self.start <= moment <= self.until:
                return moment

    def within_hour(self, day: date, hour: int) -> datetime:
        at = datetime.combine(day, time(hour), UTC)
        return at + timedelta(seconds=self.dice.randrange(3600), microseconds=self.dice.randrange(1_000_000))

    def later(self, at: datetime, hours: tuple[float, float], source: str) -> datetime:
        """A follow-up comes when somebody is at work again."""
        at += timedelta(hours=self.dice.uniform(*hours))
        if source == "ops-watch" or hours[1] <= 6 or (at.weekday() < 5 and 6 <= at.hour < 19):
            return at
        day = at.date() + timedelta(days=1 if at.hour >= 19 else 0)
        while day.weekday() > 4:
            day += timedelta(days=1)
        return max(at, self.within_hour(day, self.dice.randrange(7, 12)))

    # What

    def tell(self) -> list[Note]:
        notes = [*self.beats(), *self.handbook(), *self.rotas(), *self.outage(), *self.hostile(), *self.attributes()]
        notes = [note for note in notes if self.start <= note.at <= self.until]
        weights = [topic.weight for topic in story.TOPICS]
        while len(notes) < TOTAL:
            topic = self.dice.choices(story.TOPICS, weights)[0]
            notes += [note for note in self.thread(topic) if note.at <= self.until]
        return notes

    def beats(self) -> Iterator[Note]:
        for number, beat in enumerate(story.BEATS):
            head, text = beat.split(" :: ", 1)
            week, weekday, clock, source, subject, collection, tier, *marks = head.split()
            marked = {mark[0]: mark[1:] for mark in marks}
            at = self.moment(week, weekday, clock) + timedelta(seconds=self.dice.randrange(60))
            yield Note(
                at=at,
                source=source,
                subject=subject,
                namespace=marked["@"],
                collection=collection,
                content=self.say(text, at, {}),
                tier=TIERS[tier],
                labels=tuple(filter(None, marked.get("#", "").split(","))),
                thread=marked.get("=", f"beat-{number}"),
            )

    def handbook(self) -> Iterator[Note]:
        """Pages appear in the first weeks; some are edited later."""
        for line in story.HANDBOOK:
            (collection, tier), text = line.split(" :: ")[0].split(" | "), line.split(" :: ")[1]
            at = self.moment(str(self.dice.randrange(5)), self.dice.choice(WEEKDAYS[:5]), "10:00")
            page = Note(
                at=at + timedelta(seconds=self.dice.randrange(20_000)),
                source="handbook",
                subject="company",
                namespace="company",
                collection=f"policy_{collection}",
                content=self.say(text, at, {}),
                tier=TIERS[tier],
                thread=f"page-{collection}",
            )
            yield page
            if self.dice.random() < 0.4:
                edited = self.later(at, (300, 1900), "handbook")
                addition = self.dice.choice(
                    ("Asked often: yes, also for contractors.", "Questions: ask People.", "Checked again.")
                )
                yield replace(page, at=edited, content=f"{page.content} {addition}")

    def rotas(self) -> Iterator[Note]:
        rotas = {
            "platform": ("Dele", "Elias", "Tomasz"),
            "fleet": ("Mara", "Kenji", "Grace"),
            "insights": ("Viktor", "Amira"),
        }
        for week in range(17):
            for team, names in rotas.items():
                if team == "fleet" and week < 6:
                    continue
                at = self.moment(str(week), "Mon", "09:00")
                name = names[week % len(names)]
                yield Note(
                    at=at + timedelta(seconds=2, microseconds=self.dice.randrange(900_000)),
                    source="ops-watch",
                    subject=f"team:{team}",
                    namespace="operations",
                    collection="oncall",
                    content=f"On call for {team} until {_day(at.date() + timedelta(days=7))}: {name}",
                    tier="internal",
                    thread=f"rota-{team}",
                )

    def outage(self) -> Iterator[Note]:
        """The hours of INC-217: alarms at once, callers a little later, and notes of those who look for the cause."""
        begin, end = self.moment("9", "Tue", "09:42"), self.moment("9", "Tue", "12:59")
        minutes = (end - begin).total_seconds() / 60
        bursts = (
            ("ops-watch", "operations", "service:{service}", "alert", story.OUTAGE_SIGNS, "i", 210, 0.0),
            ("support-bot", "support", "ticket:{ticket}", "summary", story.OUTAGE_CALLS, "iic", 150, 9.0),
            ("claude-code", "operations", "service:routing-engine", "investigation", story.OUTAGE_NOTES, "i", 34, 6.0),
        )
        for source, namespace, about, collection, says, tiers, size, delay in bursts:
            for _ in range(size):
                at = begin + timedelta(minutes=delay + self.dice.betavariate(1.3, 2.1) * minutes)
                context = self.context(at, source)
                yield Note(
                    at=at,
                    source=source,
                    subject=self.say(about, at, context),
                    namespace=namespace,
                    collection=collection,
                    content=self.say(self.dice.choice(says), at, context),
                    tier=TIERS[self.dice.choice(tiers)],
                    labels=("customer-data",) if source == "support-bot" else (),
                    thread=self.fresh(),
                )

    def hostile(self) -> Iterator[Note]:
        """Texts that try something. They are stored like any other, and shown for what they are."""
        for source, subject, collection, text in story.HOSTILE:
            yield Note(
                at=self.any_moment(source),
                source=source,
                subject=subject,
                namespace="support" if source == "support-bot" else "company",
                collection=collection,
                content=text,
                tier=self.dice.choice(("public", "internal")),
                thread=self.fresh(),
            )

    def attributes(self) -> Iterator[Note]:
        for attribute in story.ATTRIBUTES:
            for subject, context in self.subjects(attribute.about):
                if self.dice.random() < 0.85:
                    yield from self.attribute(attribute, subject, context)

    def attribute(self, attribute: Attribute, subject: str, facts: Mapping[str, str]) -> Iterator[Note]:
        """What several agents believe about one thing: the same, in other words, by heart, wrongly, or corrected."""
        at = self.any_moment("")
        context = {**self.context(at), **facts}
        truth, rival = self.truth_and_rival(attribute, at, context)
        sources = attribute.sources.split(",")
        first = self.statement(attribute, subject, {**context, "v": truth}, at, self.dice.choice(sources))
        yield first
        if subject == "user:mara" and attribute.collection == "city":
            return
        for _ in range(self.dice.choices((0, 1, 2, 3), (40, 32, 18, 10))[0]):
            at = self.any_moment("")
            others = [source for source in sources if source != first.source] or sources
            note = self.statement(attribute, subject, {**context, "v": truth}, at, self.dice.choice(others))
            luck = self.dice.random()
            if luck < 0.22 and note.source != first.source:
                yield replace(note, content=first.content)
            elif luck < 0.4:
                yield self.statement(attribute, subject, {**context, "v": rival}, at, note.source)
            elif luck < 0.52 and at > first.at:
                yield replace(
                    self.statement(attribute, subject, {**context, "v": rival}, at, first.source), thread=first.thread
                )
                first = replace(first, at=at, thread=self.fresh())  # one correction a thread
            else:
                yield note

    def truth_and_rival(self, attribute: Attribute, at: datetime, context: dict[str, str]) -> tuple[str, str]:
        values = list(attribute.values)
        if not values[0].startswith("="):
            self.dice.shuffle(values)
        truth = self.say(values[0].removeprefix("="), at, context)
        rivals = (self.say(value, at, context) for value in (*values[1:], *values[1:], *values[1:]))
        return truth, next(rival for rival in rivals if rival != truth)

    def statement(self, attribute: Attribute, subject: str, context: dict[str, str], at: datetime, source: str) -> Note:
        return Note(
            at=at,
            source=source,
            subject=subject,
            namespace=attribute.namespace,
            collection=attribute.collection,
            content=_sentence(self.say(self.dice.choice(attribute.says), at, context)),
            tier=TIERS[self.dice.choice(attribute.tiers)],
            labels=self.labels(attribute.labels),
            thread=self.fresh(),
        )

    def thread(self, topic: Topic) -> Iterator[Note]:
        """One occurrence of a topic: each step leads to the next, if it happens."""
        at = self.any_moment(topic.source)
        context = self.context(at, topic.source)
        last: Note | None = None
        for part in topic.steps:
            if self.dice.random() > part.chance or (
                part.updates and (last is None or last.collection != part.collection)
            ):
                continue
            at = self.later(at, part.hours, topic.source)
            note = self.spoken(topic, part, context, at)
            if part.updates and last is not None:
                note = replace(note, thread=last.thread, tier=last.tier, labels=last.labels)
            if last is None or note.content != last.content:
                yield note
                last = note

    def spoken(self, topic: Topic, part: Step, context: dict[str, str], at: datetime) -> Note:
        source = topic.source
        text = self.dice.choice(part.says)
        return Note(
            at=at,
            source=source,
            subject=self.say(part.about, at, context),
            namespace=topic.namespace,
            collection=part.collection,
            content=_sentence(self.say(text, at, context)) if text[0] in "{[" else self.say(text, at, context),
            tier=TIERS[self.dice.choice(part.tiers or topic.tiers)],
            labels=self.labels(part.labels),
            thread=self.fresh(),
            kind=part.kind,
            background=True,
        )

    def labels(self, spec: str) -> tuple[str, ...]:
        """`label?` is given now and then, `label` nearly always."""
        labels = filter(None, spec.split(","))
        chance = {True: 0.4, False: 0.93}
        return tuple(label.removesuffix("?") for label in labels if self.dice.random() < chance[label.endswith("?")])

    def fresh(self) -> str:
        return f"t-{next(self.threads)}"

    # Whom and which words

    def subjects(self, about: str) -> list[tuple[str, dict[str, str]]]:
        if about == "user":
            return [(f"user:{row[0]}", _person(row)) for row in story.PEOPLE]
        if about == "customer":
            return [(f"customer:{row[0]}", _customer(row)) for row in story.CUSTOMERS]
        if about == "service":
            return [(f"service:{row[0]}", _service(row)) for row in story.SERVICES]
        if about == "project":
            return [(f"project:{row[0]}", _project(row)) for row in story.PROJECTS]
        return [(f"team:{team}", {"team": team}) for team in story.TEAMS]

    def context(self, at: datetime, source: str = "") -> dict[str, str]:
        """Everything a thread may talk about, chosen once, so that its steps talk about the same thing."""
        dice, day = self.dice, (at - self.start).days
        one, two = dice.sample(_colleagues(source), 2)
        service, customer = dice.choice(story.SERVICES), dice.choice(story.CUSTOMERS)
        area, symptom, cause, remedy = dice.choice(story.ISSUES)
        metric, seen, reason = dice.choice(story.ALERTS)
        team = self.team_at(dice.choice(story.TEAMS), at)
        tongue = dice.choice(tuple(story.OTHER_TONGUES))
        product = "Harbor" if at > self.renamed and dice.random() < 0.93 else "Dispatch"
        context = {
            **_person(one),
            **_customer(customer),
            **_service(service),
            **_project(dice.choice(story.PROJECTS)),
            "other": two[1].split()[0],
            "other_handle": two[0],
            "ben": "Ben",
            "library": dice.choice(story.LIBRARIES[service[2]]),
            "area": area,
            "area_key": area.lower().replace(" ", "-"),
            "symptom": symptom,
            "cause": cause,
            "remedy": remedy,
            "metric": metric,
            "reason": self.say(reason, at, {}),
            "team": team,
            "product": f"Larkspur {product}",
            "product_key": product.lower(),
            "pr": str(1080 + day * 3 + dice.randrange(30)),
            "ticket": f"LS-{50_000 + day * 24 + dice.randrange(24)}",
            "version": f"{at.year % 100}.{at.isocalendar().week}.{dice.randrange(9)}",
            "deal": f"{customer[0]}-{dice.randrange(1, 7)}",
            "inv": f"LK-{at.year}-{dice.randrange(1, 9999):04}",
            "meeting": f"{at.date()}-{team}",
            "mood": dice.choice(story.WORDS["mood"]),
        }
        context["seen"] = self.say(seen, at, context)
        change, why = self.change(service[0])
        context |= {"change": self.say(change, at, context), "why": self.say(why, at, context)}
        agenda = dice.choice(story.AGENDA if dice.random() < 0.22 else story.AGENDA_ANY)
        context |= {
            key: self.say(text, at, context) for key, text in zip(("agenda", "decided", "todo"), agenda, strict=True)
        }
        named = {"key": tongue, "city": next(row[3] for row in story.CUSTOMERS if row[0] == tongue), "dates": "numeric"}
        context["tongue"] = self.say(dice.choice(story.OTHER_TONGUES[tongue]), at, {**context, **named})
        context["tongue_subject"] = f"customer:{tongue}"
        return context

    def change(self, service: str) -> tuple[str, str]:
        if self.dice.random() < 0.25:
            own = [row for row in story.CHANGES if row[0] == service]
            _, change, why = self.dice.choice(own)
            return change, why
        return self.dice.choice(story.WORDS["chore"]), self.dice.choice(story.WORDS["chore_why"])

    def team_at(self, team: str, at: datetime) -> str:
        return "fleet" if team in REORGANISED_TEAMS and at >= self.reorganised else team

    # How it is said

    def say(self, text: str, at: datetime, context: dict[str, str]) -> str:
        """Play the grammar that `demo_story` describes: choices first, then slots, which may hold grammar again."""
        while True:
            text, choices = _CHOICE.subn(lambda found: self.dice.choice(found[1].split("|")), text)
            if not choices:
                break
        return _SLOT.sub(lambda found: self.slot(found[1], at, context), text)

    def slot(self, name: str, at: datetime, context: dict[str, str]) -> str:
        if name.startswith("^"):
            return _sentence(self.slot(name[1:], at, context))
        if name[0] in "+-@":
            return self.date_slot(name, at, numeric="dates" in context)
        if name[0].isdigit():
            return self.number(name)
        if name in context:
            return context[name]
        if name in _CLOCK_SLOTS:
            return self.clock_slot(name, at, context)
        word = self.say(self.dice.choice(story.WORDS[name.partition(".")[0]]), at, context)
        if "." in name:
            context[name] = word
        return word

    def number(self, name: str) -> str:
        low, high = name.split("-")
        if "." not in name:
            return str(self.dice.randint(int(low), int(high)))
        return f"{self.dice.uniform(float(low), float(high)):.{max(len(part.split('.')[1]) for part in (low, high))}f}"

    def date_slot(self, name: str, at: datetime, *, numeric: bool) -> str:
        """`@9Tue` is a day of the story, `+3-9d` some days from the event, moved to a Monday from a weekend."""
        if name[0] == "@":
            week, weekday = name[1:-3], name[-3:]
            return _day(self.moment(week, weekday).date())
        low, _, high = name[1:-1].partition("-")
        days = self.dice.randint(int(low), int(high or low))
        day = at.date() + timedelta(days=days if name[0] == "+" else -days)
        day += timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)
        return f"{day.day:02}.{day.month:02}." if numeric else _day(day)

    def clock_slot(self, name: str, at: datetime, context: Mapping[str, str]) -> str:
        if name == "clock":
            return f"{at - timedelta(minutes=self.dice.randint(2, 25)):%H:%M}"
        if name == "today":
            return f"{at:%A}"
        if name == "weekday_after":
            return f"{at + timedelta(days=(2 if at.weekday() < 3 else 7 - at.weekday())):%A}"
        month = at.replace(day=15) + timedelta(days=30 if name == "month_after" else 0)
        if "dates" not in context:
            return f"{month:%B}"
        return f"{month.month}月" if context["key"] == "tanaka" else f"{month:%m/%Y}"


_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{([\^@+\-\w.]+)\}")
_CLOCK_SLOTS = ("clock", "today", "weekday_after", "month", "month_after")


def _sentence(text: str) -> str:
    """Capitalised, unless it starts with a name that is written small."""
    if re.split("[ :,]", text, maxsplit=1)[0] in _SMALL_NAMES:
        return text
    return text[:1].upper() + text[1:]


_SMALL_NAMES = frozenset(row[0] for row in story.SERVICES) | {"p95", "p99"}


def _colleagues(source: str) -> Sequence[Sequence[str]]:
    """Whom a source deals with: lawyers do not restart pods."""
    if source in {"claude-code", "ops-watch"}:
        return [row for row in story.PEOPLE if "Engineer" in row[2]]
    if source == "sales-copilot":
        return [row for row in story.PEOPLE if row[3] in {"sales", "success"}]
    return story.PEOPLE


def _day(day: date) -> str:
    return f"{day.day} {day:%B}"


def _person(row: Sequence[str]) -> dict[str, str]:
    return dict(zip(("handle", "person", "role", "team", "home"), row, strict=True)) | {"first": row[1].split()[0]}


def _customer(row: Sequence[str]) -> dict[str, str]:
    names = ("key", "customer", "trade", "city", "champion", "vehicles", "depots", "legacy")
    return dict(zip(names, row, strict=True))


def _service(row: Sequence[str]) -> dict[str, str]:
    return dict(zip(("service", "team", "lang", "store"), row, strict=True))


def _project(row: Sequence[str]) -> dict[str, str]:
    lead = next(person[1].split()[0] for person in story.PEOPLE if person[0] == row[2])
    return {"project_key": row[0], "project": row[1], "lead": lead}
