"""Generate the demo's memories: 120 days of one company and its agents.

`story` has the texts, `writers` builds the envelopes, and this module adds times and random choices. All of it is
derived from the seed and the end time, so two machines show the same pages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from random import Random

from memoryhub.demo import story
from memoryhub.demo.story import Attribute, Step, Topic
from memoryhub.demo.writers import DemoNote, to_envelope, truncate_to_source_precision

DAYS = 120
TOTAL_MEMORIES = 12_000
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TIER_BY_LETTER = {"p": "public", "i": "internal", "c": "confidential", "r": "restricted"}
OFFICE_HOUR_WEIGHTS = (0, 0, 0, 0, 1, 2, 5, 12, 20, 22, 21, 17, 12, 17, 20, 19, 15, 10, 7, 5, 4, 3, 1, 0)
MACHINE_HOUR_WEIGHTS = (6, 6, 5, 5, 9, 11, 10, 10, 12, 12, 12, 10, 9, 10, 12, 12, 10, 8, 7, 7, 7, 6, 6, 6)
REORGANIZED_TEAMS = ("routing", "driver-app")


def generate_envelopes(*, seed: int = 7, end_time: datetime) -> Iterator[dict[str, object]]:
    """Yield about 12,000 envelopes in the order of their event time, the last one not after `end_time` (aware).

    Write them in this order with `OnConflict.REPLACE`: a payload_id that is repeated with other content is a new
    version, one with the same content is a replay. The same arguments give the same envelopes.
    """
    generator = DemoGenerator(seed, end_time)
    for note in sorted(map(truncate_to_source_precision, generator.generate_notes()), key=lambda note: note.timestamp):
        is_upgraded = note.timestamp >= generator.start_time + timedelta(days=DAYS / 2)
        envelope = to_envelope(note, rng=generator.rng, seed=seed, is_upgraded=is_upgraded)
        yield envelope
        if generator.rng.random() < 0.0042:  # the response was lost and the agent sends it again
            yield dict(envelope)


@dataclass
class DemoGenerator:
    seed: int
    end_time: datetime
    rng: Random = field(init=False)
    thread_ids: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)  # noqa: S311 - a story that repeats itself is the point; no secret
        self.end_time = self.end_time.astimezone(UTC)
        self.start_time = self.end_time - timedelta(days=DAYS)
        first_day = self.start_time.date() + timedelta(days=1)
        self.first_monday = first_day + timedelta(days=-first_day.weekday() % 7)
        self.reorganized_at = self.story_time("6", "Mon")
        self.renamed_at = self.story_time("11", "Tue")

    # Times

    def story_time(self, week: str, weekday: str, clock: str = "00:00") -> datetime:
        day = self.first_monday + timedelta(weeks=int(week), days=WEEKDAYS.index(weekday))
        return datetime.combine(day, time.fromisoformat(clock), UTC)

    def random_time(self, source: str) -> datetime:
        """Return a random time: people and the agents that follow them keep office hours, machines less so."""
        is_machine = source == "ops-watch"
        hour_weights, weekend_factor = (MACHINE_HOUR_WEIGHTS, 0.5) if is_machine else (OFFICE_HOUR_WEIGHTS, 0.16)
        while True:
            day = self.start_time.date() + timedelta(days=self.rng.randrange(DAYS + 1))
            growth = 0.75 + 0.25 * (day - self.start_time.date()).days / DAYS
            if self.rng.random() > growth * (weekend_factor if day.weekday() > 4 else 1.0):
                continue
            timestamp = self.random_time_in_hour(day, self.rng.choices(range(24), hour_weights)[0])
            if self.start_time <= timestamp <= self.end_time:
                return timestamp

    def random_time_in_hour(self, day: date, hour: int) -> datetime:
        timestamp = datetime.combine(day, time(hour), UTC)
        return timestamp + timedelta(seconds=self.rng.randrange(3600), microseconds=self.rng.randrange(1_000_000))

    def follow_up_time(self, timestamp: datetime, hour_range: tuple[float, float], source: str) -> datetime:
        """Return the time of a follow-up, moved to working hours if a person has to write it."""
        timestamp += timedelta(hours=self.rng.uniform(*hour_range))
        if source == "ops-watch" or hour_range[1] <= 6 or (timestamp.weekday() < 5 and 6 <= timestamp.hour < 19):
            return timestamp
        day = timestamp.date() + timedelta(days=1 if timestamp.hour >= 19 else 0)
        while day.weekday() > 4:
            day += timedelta(days=1)
        return max(timestamp, self.random_time_in_hour(day, self.rng.randrange(7, 12)))

    # Notes

    def generate_notes(self) -> list[DemoNote]:
        notes = [
            *self.scripted_notes(),
            *self.handbook_notes(),
            *self.rota_notes(),
            *self.outage_notes(),
            *self.hostile_notes(),
            *self.attribute_notes(),
        ]
        notes = [note for note in notes if self.start_time <= note.timestamp <= self.end_time]
        weights = [topic.weight for topic in story.TOPICS]
        while len(notes) < TOTAL_MEMORIES:
            topic = self.rng.choices(story.TOPICS, weights)[0]
            notes += [note for note in self.thread_notes(topic) if note.timestamp <= self.end_time]
        return notes

    def scripted_notes(self) -> Iterator[DemoNote]:
        for index, scripted_event in enumerate(story.SCRIPTED_EVENTS):
            header, text = scripted_event.split(" :: ", 1)
            week, weekday, clock, source, subject, collection, tier, *marks = header.split()
            mark_values = {mark[0]: mark[1:] for mark in marks}
            timestamp = self.story_time(week, weekday, clock) + timedelta(seconds=self.rng.randrange(60))
            yield DemoNote(
                timestamp=timestamp,
                source=source,
                subject=subject,
                namespace=mark_values["@"],
                collection=collection,
                content=self.expand_template(text, timestamp, {}),
                tier=TIER_BY_LETTER[tier],
                labels=tuple(filter(None, mark_values.get("#", "").split(","))),
                thread=mark_values.get("=", f"beat-{index}"),
            )

    def handbook_notes(self) -> Iterator[DemoNote]:
        """Pages appear in the first weeks; some are edited later."""
        for line in story.HANDBOOK:
            (collection, tier), text = line.split(" :: ")[0].split(" | "), line.split(" :: ")[1]
            timestamp = self.story_time(str(self.rng.randrange(5)), self.rng.choice(WEEKDAYS[:5]), "10:00")
            page = DemoNote(
                timestamp=timestamp + timedelta(seconds=self.rng.randrange(20_000)),
                source="handbook",
                subject="company",
                namespace="company",
                collection=f"policy_{collection}",
                content=self.expand_template(text, timestamp, {}),
                tier=TIER_BY_LETTER[tier],
                thread=f"page-{collection}",
            )
            yield page
            if self.rng.random() < 0.4:
                edited_at = self.follow_up_time(timestamp, (300, 1900), "handbook")
                addition = self.rng.choice(
                    ("Asked often: yes, also for contractors.", "Questions: ask People.", "Checked again.")
                )
                yield replace(page, timestamp=edited_at, content=f"{page.content} {addition}")

    def rota_notes(self) -> Iterator[DemoNote]:
        engineers_by_team = {
            "platform": ("Dele", "Elias", "Tomasz"),
            "fleet": ("Mara", "Kenji", "Grace"),
            "insights": ("Viktor", "Amira"),
        }
        for week in range(17):
            for team, engineer_names in engineers_by_team.items():
                if team == "fleet" and week < 6:
                    continue
                timestamp = self.story_time(str(week), "Mon", "09:00")
                engineer_name = engineer_names[week % len(engineer_names)]
                next_monday = timestamp.date() + timedelta(days=7)
                yield DemoNote(
                    timestamp=timestamp + timedelta(seconds=2, microseconds=self.rng.randrange(900_000)),
                    source="ops-watch",
                    subject=f"team:{team}",
                    namespace="operations",
                    collection="oncall",
                    content=f"On call for {team} until {_format_day(next_monday)}: {engineer_name}",
                    tier="internal",
                    thread=f"rota-{team}",
                )

    def outage_notes(self) -> Iterator[DemoNote]:
        """Yield the notes of incident INC-217: alerts at once, calls a little later, and notes of the investigation."""
        begin_time, end_time = self.story_time("9", "Tue", "09:42"), self.story_time("9", "Tue", "12:59")
        minutes = (end_time - begin_time).total_seconds() / 60
        bursts = (
            ("ops-watch", "operations", "service:{service}", "alert", story.OUTAGE_SIGNS, "i", 210, 0.0),
            ("support-bot", "support", "ticket:{ticket}", "summary", story.OUTAGE_CALLS, "iic", 150, 9.0),
            ("claude-code", "operations", "service:routing-engine", "investigation", story.OUTAGE_NOTES, "i", 34, 6.0),
        )
        for source, namespace, subject_template, collection, templates, tiers, note_count, delay_minutes in bursts:
            for _ in range(note_count):
                timestamp = begin_time + timedelta(minutes=delay_minutes + self.rng.betavariate(1.3, 2.1) * minutes)
                context = self.build_context(timestamp, source)
                yield DemoNote(
                    timestamp=timestamp,
                    source=source,
                    subject=self.expand_template(subject_template, timestamp, context),
                    namespace=namespace,
                    collection=collection,
                    content=self.expand_template(self.rng.choice(templates), timestamp, context),
                    tier=TIER_BY_LETTER[self.rng.choice(tiers)],
                    labels=("customer-data",) if source == "support-bot" else (),
                    thread=self.next_thread_id(),
                )

    def hostile_notes(self) -> Iterator[DemoNote]:
        """Yield texts that attempt an attack. They are stored like any other text and shown as text."""
        for source, subject, collection, text in story.HOSTILE_TEXTS:
            yield DemoNote(
                timestamp=self.random_time(source),
                source=source,
                subject=subject,
                namespace="support" if source == "support-bot" else "company",
                collection=collection,
                content=text,
                tier=self.rng.choice(("public", "internal")),
                thread=self.next_thread_id(),
            )

    def attribute_notes(self) -> Iterator[DemoNote]:
        for attribute in story.ATTRIBUTES:
            for subject, subject_slots in self.list_subjects(attribute.subject_kind):
                if self.rng.random() < 0.85:
                    yield from self.attribute_conversation(attribute, subject, subject_slots)

    def attribute_conversation(
        self, attribute: Attribute, subject: str, subject_slots: Mapping[str, str]
    ) -> Iterator[DemoNote]:
        """Yield statements of several agents about one attribute: repeated, rephrased, copied, wrong or corrected."""
        timestamp = self.random_time("")
        context = {**self.build_context(timestamp), **subject_slots}
        true_value, false_value = self.true_and_false_values(attribute, timestamp, context)
        sources = attribute.sources.split(",")
        first_note = self.attribute_note(
            attribute, subject, {**context, "v": true_value}, timestamp, self.rng.choice(sources)
        )
        yield first_note
        if subject == "user:mara" and attribute.collection == "city":
            return
        for _ in range(self.rng.choices((0, 1, 2, 3), (40, 32, 18, 10))[0]):
            timestamp = self.random_time("")
            other_sources = [source for source in sources if source != first_note.source] or sources
            note = self.attribute_note(
                attribute, subject, {**context, "v": true_value}, timestamp, self.rng.choice(other_sources)
            )
            chance = self.rng.random()
            if chance < 0.22 and note.source != first_note.source:
                yield replace(note, content=first_note.content)
            elif chance < 0.4:
                yield self.attribute_note(attribute, subject, {**context, "v": false_value}, timestamp, note.source)
            elif chance < 0.52 and timestamp > first_note.timestamp:
                yield replace(
                    self.attribute_note(
                        attribute, subject, {**context, "v": false_value}, timestamp, first_note.source
                    ),
                    thread=first_note.thread,
                )
                first_note = replace(
                    first_note, timestamp=timestamp, thread=self.next_thread_id()
                )  # one correction per thread
            else:
                yield note

    def true_and_false_values(
        self, attribute: Attribute, timestamp: datetime, context: dict[str, str]
    ) -> tuple[str, str]:
        values = list(attribute.values)
        if not values[0].startswith("="):
            self.rng.shuffle(values)
        true_value = self.expand_template(values[0].removeprefix("="), timestamp, context)
        false_values = (
            self.expand_template(value, timestamp, context) for value in (*values[1:], *values[1:], *values[1:])
        )
        return true_value, next(false_value for false_value in false_values if false_value != true_value)

    def attribute_note(
        self, attribute: Attribute, subject: str, context: dict[str, str], timestamp: datetime, source: str
    ) -> DemoNote:
        return DemoNote(
            timestamp=timestamp,
            source=source,
            subject=subject,
            namespace=attribute.namespace,
            collection=attribute.collection,
            content=_capitalize_sentence(
                self.expand_template(self.rng.choice(attribute.templates), timestamp, context)
            ),
            tier=TIER_BY_LETTER[self.rng.choice(attribute.tiers)],
            labels=self.choose_labels(attribute.labels),
            thread=self.next_thread_id(),
        )

    def thread_notes(self, topic: Topic) -> Iterator[DemoNote]:
        """Yield one thread of a topic: its steps in order, each with its probability."""
        timestamp = self.random_time(topic.source)
        context = self.build_context(timestamp, topic.source)
        last_note: DemoNote | None = None
        for step in topic.steps:
            if self.rng.random() > step.probability or (
                step.is_update and (last_note is None or last_note.collection != step.collection)
            ):
                continue
            timestamp = self.follow_up_time(timestamp, step.hour_range, topic.source)
            note = self.step_note(topic, step, context, timestamp)
            if step.is_update and last_note is not None:
                note = replace(note, thread=last_note.thread, tier=last_note.tier, labels=last_note.labels)
            if last_note is None or note.content != last_note.content:
                yield note
                last_note = note

    def step_note(self, topic: Topic, step: Step, context: dict[str, str], timestamp: datetime) -> DemoNote:
        source = topic.source
        template = self.rng.choice(step.templates)
        return DemoNote(
            timestamp=timestamp,
            source=source,
            subject=self.expand_template(step.subject_template, timestamp, context),
            namespace=topic.namespace,
            collection=step.collection,
            content=_capitalize_sentence(self.expand_template(template, timestamp, context))
            if template[0] in "{["
            else self.expand_template(template, timestamp, context),
            tier=TIER_BY_LETTER[self.rng.choice(step.tiers or topic.tiers)],
            labels=self.choose_labels(step.labels),
            thread=self.next_thread_id(),
            kind=step.kind,
            is_background=True,
        )

    def choose_labels(self, label_spec: str) -> tuple[str, ...]:
        """Choose from a list of labels: `label?` with a probability of 40 %, `label` of 93 %."""
        labels = filter(None, label_spec.split(","))
        probability = {True: 0.4, False: 0.93}
        return tuple(
            label.removesuffix("?") for label in labels if self.rng.random() < probability[label.endswith("?")]
        )

    def next_thread_id(self) -> str:
        return f"t-{next(self.thread_ids)}"

    # Subjects and words

    def list_subjects(self, subject_kind: str) -> list[tuple[str, dict[str, str]]]:
        if subject_kind == "user":
            return [(f"user:{row[0]}", _person_slots(row)) for row in story.PEOPLE]
        if subject_kind == "customer":
            return [(f"customer:{row[0]}", _customer_slots(row)) for row in story.CUSTOMERS]
        if subject_kind == "service":
            return [(f"service:{row[0]}", _service_slots(row)) for row in story.SERVICES]
        if subject_kind == "project":
            return [(f"project:{row[0]}", _project_slots(row)) for row in story.PROJECTS]
        return [(f"team:{team}", {"team": team}) for team in story.TEAMS]

    def build_context(self, timestamp: datetime, source: str = "") -> dict[str, str]:
        """Choose the words of a thread once, so that all its steps are about the same things."""
        rng, day = self.rng, (timestamp - self.start_time).days
        person, colleague = rng.sample(_list_colleagues(source), 2)
        service, customer = rng.choice(story.SERVICES), rng.choice(story.CUSTOMERS)
        area, symptom, cause, remedy = rng.choice(story.ISSUES)
        metric, observation, reason = rng.choice(story.ALERTS)
        team = self.get_team_name(rng.choice(story.TEAMS), timestamp)
        language_key = rng.choice(tuple(story.TEMPLATES_BY_LANGUAGE))
        product = "Harbor" if timestamp > self.renamed_at and rng.random() < 0.93 else "Dispatch"
        context = {
            **_person_slots(person),
            **_customer_slots(customer),
            **_service_slots(service),
            **_project_slots(rng.choice(story.PROJECTS)),
            "other": colleague[1].split()[0],
            "other_handle": colleague[0],
            "ben": "Ben",
            "library": rng.choice(story.LIBRARIES[service[2]]),
            "area": area,
            "area_key": area.lower().replace(" ", "-"),
            "symptom": symptom,
            "cause": cause,
            "remedy": remedy,
            "metric": metric,
            "reason": self.expand_template(reason, timestamp, {}),
            "team": team,
            "product": f"Larkspur {product}",
            "product_key": product.lower(),
            "pr": str(1080 + day * 3 + rng.randrange(30)),
            "ticket": f"LS-{50_000 + day * 24 + rng.randrange(24)}",
            "version": f"{timestamp.year % 100}.{timestamp.isocalendar().week}.{rng.randrange(9)}",
            "deal": f"{customer[0]}-{rng.randrange(1, 7)}",
            "inv": f"LK-{timestamp.year}-{rng.randrange(1, 9999):04}",
            "meeting": f"{timestamp.date()}-{team}",
            "mood": rng.choice(story.WORDS_BY_SLOT["mood"]),
        }
        context["seen"] = self.expand_template(observation, timestamp, context)
        change_text, change_reason = self.choose_change(service[0])
        context |= {
            "change": self.expand_template(change_text, timestamp, context),
            "why": self.expand_template(change_reason, timestamp, context),
        }
        agenda = rng.choice(story.SPECIFIC_AGENDA if rng.random() < 0.22 else story.COMMON_AGENDA)
        context |= {
            key: self.expand_template(text, timestamp, context)
            for key, text in zip(("agenda", "decided", "todo"), agenda, strict=True)
        }
        extra_slots = {
            "key": language_key,
            "city": next(row[3] for row in story.CUSTOMERS if row[0] == language_key),
            "dates": "numeric",
        }
        context["tongue"] = self.expand_template(
            rng.choice(story.TEMPLATES_BY_LANGUAGE[language_key]), timestamp, {**context, **extra_slots}
        )
        context["tongue_subject"] = f"customer:{language_key}"
        return context

    def choose_change(self, service: str) -> tuple[str, str]:
        if self.rng.random() < 0.25:
            service_changes = [row for row in story.CHANGES if row[0] == service]
            _, change, reason = self.rng.choice(service_changes)
            return change, reason
        return self.rng.choice(story.WORDS_BY_SLOT["chore"]), self.rng.choice(story.WORDS_BY_SLOT["chore_why"])

    def get_team_name(self, team: str, timestamp: datetime) -> str:
        return "fleet" if team in REORGANIZED_TEAMS and timestamp >= self.reorganized_at else team

    # Templates

    def expand_template(self, text: str, timestamp: datetime, context: dict[str, str]) -> str:
        """Expand a template in the grammar of `story`: first choices, then slots, whose values may be templates too."""
        while True:
            text, choice_count = _CHOICE_PATTERN.subn(lambda match: self.rng.choice(match[1].split("|")), text)
            if not choice_count:
                break
        return _SLOT_PATTERN.sub(lambda match: self.expand_slot(match[1], timestamp, context), text)

    def expand_slot(self, name: str, timestamp: datetime, context: dict[str, str]) -> str:
        if name.startswith("^"):
            return _capitalize_sentence(self.expand_slot(name[1:], timestamp, context))
        if name[0] in "+-@":
            return self.expand_date_slot(name, timestamp, is_numeric="dates" in context)
        if name[0].isdigit():
            return self.random_number(name)
        if name in context:
            return context[name]
        if name in _CLOCK_SLOTS:
            return self.expand_clock_slot(name, timestamp, context)
        word = self.expand_template(self.rng.choice(story.WORDS_BY_SLOT[name.partition(".")[0]]), timestamp, context)
        if "." in name:
            context[name] = word
        return word

    def random_number(self, number_range: str) -> str:
        low, high = number_range.split("-")
        if "." not in number_range:
            return str(self.rng.randint(int(low), int(high)))
        return f"{self.rng.uniform(float(low), float(high)):.{max(len(part.split('.')[1]) for part in (low, high))}f}"

    def expand_date_slot(self, name: str, timestamp: datetime, *, is_numeric: bool) -> str:
        """Expand `@9Tue`, a day of the story, or `+3-9d`, some days from the event; a weekend becomes a Monday."""
        if name[0] == "@":
            week, weekday = name[1:-3], name[-3:]
            return _format_day(self.story_time(week, weekday).date())
        low, _, high = name[1:-1].partition("-")
        days = self.rng.randint(int(low), int(high or low))
        day = timestamp.date() + timedelta(days=days if name[0] == "+" else -days)
        day += timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)
        return f"{day.day:02}.{day.month:02}." if is_numeric else _format_day(day)

    def expand_clock_slot(self, name: str, timestamp: datetime, context: Mapping[str, str]) -> str:
        if name == "clock":
            return f"{timestamp - timedelta(minutes=self.rng.randint(2, 25)):%H:%M}"
        if name == "today":
            return f"{timestamp:%A}"
        if name == "weekday_after":
            return f"{timestamp + timedelta(days=(2 if timestamp.weekday() < 3 else 7 - timestamp.weekday())):%A}"
        month = timestamp.replace(day=15) + timedelta(days=30 if name == "month_after" else 0)
        if "dates" not in context:
            return f"{month:%B}"
        return f"{month.month}月" if context["key"] == "tanaka" else f"{month:%m/%Y}"


_CHOICE_PATTERN = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT_PATTERN = re.compile(r"\{([\^@+\-\w.]+)\}")
_CLOCK_SLOTS = ("clock", "today", "weekday_after", "month", "month_after")


def _capitalize_sentence(text: str) -> str:
    """Capitalize a sentence, unless it begins with a name in lower case."""
    if re.split("[ :,]", text, maxsplit=1)[0] in _LOWERCASE_NAMES:
        return text
    return text[:1].upper() + text[1:]


_LOWERCASE_NAMES = frozenset(row[0] for row in story.SERVICES) | {"p95", "p99"}


def _list_colleagues(source: str) -> Sequence[Sequence[str]]:
    """Return the people that a source deals with: lawyers do not restart pods."""
    if source in {"claude-code", "ops-watch"}:
        return [row for row in story.PEOPLE if "Engineer" in row[2]]
    if source == "sales-copilot":
        return [row for row in story.PEOPLE if row[3] in {"sales", "success"}]
    return story.PEOPLE


def _format_day(day: date) -> str:
    return f"{day.day} {day:%B}"


def _person_slots(row: Sequence[str]) -> dict[str, str]:
    return dict(zip(("handle", "person", "role", "team", "home"), row, strict=True)) | {"first": row[1].split()[0]}


def _customer_slots(row: Sequence[str]) -> dict[str, str]:
    names = ("key", "customer", "trade", "city", "champion", "vehicles", "depots", "legacy")
    return dict(zip(names, row, strict=True))


def _service_slots(row: Sequence[str]) -> dict[str, str]:
    return dict(zip(("service", "team", "lang", "store"), row, strict=True))


def _project_slots(row: Sequence[str]) -> dict[str, str]:
    lead = next(person[1].split()[0] for person in story.PEOPLE if person[0] == row[2])
    return {"project_key": row[0], "project": row[1], "lead": lead}
