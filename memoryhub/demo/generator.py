"""Generate the demo's memories: 120 days of one company and its agents.

`story` has the words, `templates` makes texts of them, `writers` builds the envelopes, and this module chooses. All of
it is derived from the seed and the end time, so two machines show the same pages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random

from memoryhub.demo.story import STORY, Attribute, Row, Step, Topic
from memoryhub.demo.story_clock import DAYS, WEEKDAYS, StoryClock, format_day
from memoryhub.demo.templates import TemplateExpander, capitalize_sentence
from memoryhub.demo.writers import DemoNote, to_envelope, truncate_to_source_precision

TOTAL_MEMORIES = 12_000
TIER_BY_LETTER = {"p": "public", "i": "internal", "c": "confidential", "r": "restricted"}
REORGANIZED_TEAMS = ("routing", "driver-app")


def generate_envelopes(*, seed: int = 7, end_time: datetime) -> Iterator[dict[str, object]]:
    """Yield about 12,000 envelopes in the order of their event time, the last one not after `end_time` (aware).

    Write them in this order with `OnConflict.REPLACE`: a payload_id that is repeated with other content is a new
    version, one with the same content is a repeated write. The same arguments give the same envelopes.
    """
    generator = DemoGenerator(seed, end_time)
    for note in sorted(map(truncate_to_source_precision, generator.generate_notes()), key=lambda note: note.timestamp):
        is_upgraded = note.timestamp >= generator.clock.start_time + timedelta(days=DAYS / 2)
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
        self.clock = StoryClock(self.rng, self.end_time)
        self.templates = TemplateExpander(self.rng, self.clock)

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
        notes = [note for note in notes if self.clock.contains(note.timestamp)]
        weights = [topic.weight for topic in STORY.topics]
        while len(notes) < TOTAL_MEMORIES:
            topic = self.rng.choices(STORY.topics, weights)[0]
            notes += [note for note in self.thread_notes(topic) if note.timestamp <= self.clock.end_time]
        return notes

    def scripted_notes(self) -> Iterator[DemoNote]:
        for index, event in enumerate(STORY.scripted_events):
            timestamp = self.clock.story_time(event.week, event.weekday, event.clock)
            timestamp += timedelta(seconds=self.rng.randrange(60))
            yield DemoNote(
                timestamp=timestamp,
                source=event.source,
                subject=event.subject,
                namespace=event.namespace,
                collection=event.collection,
                content=self.templates.expand(event.content, timestamp, {}),
                tier=event.tier,
                labels=event.labels,
                thread=event.thread or f"beat-{index}",
            )

    def handbook_notes(self) -> Iterator[DemoNote]:
        """Pages appear in the first weeks; some are edited later."""
        for page in STORY.handbook:
            timestamp = self.clock.story_time(self.rng.randrange(5), self.rng.choice(WEEKDAYS[:5]), "10:00")
            note = DemoNote(
                timestamp=timestamp + timedelta(seconds=self.rng.randrange(20_000)),
                source="handbook",
                subject="company",
                namespace="company",
                collection=f"policy_{page.collection}",
                content=self.templates.expand(page.content, timestamp, {}),
                tier=page.tier,
                thread=f"page-{page.collection}",
            )
            yield note
            if self.rng.random() < 0.4:
                edited_at = self.clock.follow_up_time(timestamp, (300, 1900), "handbook")
                addition = self.rng.choice(
                    ("Asked often: yes, also for contractors.", "Questions: ask People.", "Checked again.")
                )
                yield replace(note, timestamp=edited_at, content=f"{note.content} {addition}")

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
                timestamp = self.clock.story_time(week, "Mon", "09:00")
                engineer_name = engineer_names[week % len(engineer_names)]
                next_monday = timestamp.date() + timedelta(days=7)
                yield DemoNote(
                    timestamp=timestamp + timedelta(seconds=2, microseconds=self.rng.randrange(900_000)),
                    source="ops-watch",
                    subject=f"team:{team}",
                    namespace="operations",
                    collection="oncall",
                    content=f"On call for {team} until {format_day(next_monday)}: {engineer_name}",
                    tier="internal",
                    thread=f"rota-{team}",
                )

    def outage_notes(self) -> Iterator[DemoNote]:
        """Yield the notes of incident INC-217: alerts at once, calls a little later, and notes of the investigation."""
        begin_time, end_time = self.clock.story_time(9, "Tue", "09:42"), self.clock.story_time(9, "Tue", "12:59")
        minutes = (end_time - begin_time).total_seconds() / 60
        bursts = (
            ("ops-watch", "operations", "service:{service}", "alert", STORY.outage_signs, "i", 210, 0.0),
            ("support-bot", "support", "ticket:{ticket}", "summary", STORY.outage_calls, "iic", 150, 9.0),
            ("claude-code", "operations", "service:routing-engine", "investigation", STORY.outage_notes, "i", 34, 6.0),
        )
        for source, namespace, subject_template, collection, templates, tiers, note_count, delay_minutes in bursts:
            for _ in range(note_count):
                timestamp = begin_time + timedelta(minutes=delay_minutes + self.rng.betavariate(1.3, 2.1) * minutes)
                context = self.build_context(timestamp, source)
                yield DemoNote(
                    timestamp=timestamp,
                    source=source,
                    subject=self.templates.expand(subject_template, timestamp, context),
                    namespace=namespace,
                    collection=collection,
                    content=self.templates.expand(self.rng.choice(templates), timestamp, context),
                    tier=TIER_BY_LETTER[self.rng.choice(tiers)],
                    labels=("customer-data",) if source == "support-bot" else (),
                    thread=self.next_thread_id(),
                )

    def hostile_notes(self) -> Iterator[DemoNote]:
        """Yield texts that attempt an attack. They are stored like any other text and shown as text."""
        for row in STORY.hostile_texts:
            yield DemoNote(
                timestamp=self.clock.random_time(row["source"]),
                source=row["source"],
                subject=row["subject"],
                namespace="support" if row["source"] == "support-bot" else "company",
                collection=row["collection"],
                content=row["content"],
                tier=self.rng.choice(("public", "internal")),
                thread=self.next_thread_id(),
            )

    def attribute_notes(self) -> Iterator[DemoNote]:
        for attribute in STORY.attributes:
            for subject, subject_slots in self.list_subjects(attribute.subject_kind):
                if self.rng.random() < 0.85:
                    yield from self.attribute_conversation(attribute, subject, subject_slots)

    def attribute_conversation(self, attribute: Attribute, subject: str, subject_slots: Row) -> Iterator[DemoNote]:
        """Yield statements of several agents about one attribute: repeated, rephrased, copied, wrong or corrected."""
        timestamp = self.clock.random_time("")
        context = {**self.build_context(timestamp), **subject_slots}
        true_value, false_value = self.true_and_false_values(attribute, timestamp, context)
        sources = attribute.sources
        first_note = self.attribute_note(
            attribute, subject, {**context, "v": true_value}, timestamp, self.rng.choice(sources)
        )
        yield first_note
        if subject == "user:mara" and attribute.collection == "city":
            return
        for _ in range(self.rng.choices((0, 1, 2, 3), (40, 32, 18, 10))[0]):
            timestamp = self.clock.random_time("")
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
        if attribute.true_value:
            values.insert(0, attribute.true_value)
        else:
            self.rng.shuffle(values)
        true_value = self.templates.expand(values[0], timestamp, context)
        false_values = (
            self.templates.expand(value, timestamp, context) for value in (*values[1:], *values[1:], *values[1:])
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
            content=capitalize_sentence(
                self.templates.expand(self.rng.choice(attribute.templates), timestamp, context)
            ),
            tier=TIER_BY_LETTER[self.rng.choice(attribute.tiers)],
            labels=self.choose_labels(attribute.labels),
            thread=self.next_thread_id(),
        )

    def thread_notes(self, topic: Topic) -> Iterator[DemoNote]:
        """Yield one thread of a topic: its steps in order, each with its probability."""
        timestamp = self.clock.random_time(topic.source)
        context = self.build_context(timestamp, topic.source)
        last_note: DemoNote | None = None
        for step in topic.steps:
            if self.rng.random() > step.probability or (
                step.is_update and (last_note is None or last_note.collection != step.collection)
            ):
                continue
            timestamp = self.clock.follow_up_time(timestamp, step.hour_range, topic.source)
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
            subject=self.templates.expand(step.subject_template, timestamp, context),
            namespace=topic.namespace,
            collection=step.collection,
            content=capitalize_sentence(self.templates.expand(template, timestamp, context))
            if template[0] in "{["
            else self.templates.expand(template, timestamp, context),
            tier=TIER_BY_LETTER[self.rng.choice(step.tiers or topic.tiers)],
            labels=self.choose_labels(step.labels),
            thread=self.next_thread_id(),
            kind=step.kind,
            is_background=True,
        )

    def choose_labels(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Choose from a list of labels: `label?` with a probability of 40 %, `label` of 93 %."""
        probability = {True: 0.4, False: 0.93}
        return tuple(
            label.removesuffix("?") for label in labels if self.rng.random() < probability[label.endswith("?")]
        )

    def next_thread_id(self) -> str:
        return f"t-{next(self.thread_ids)}"

    # Subjects and words

    def list_subjects(self, subject_kind: str) -> list[tuple[str, Row]]:
        if subject_kind == "user":
            return [(f"user:{row['handle']}", _person_slots(row)) for row in STORY.people]
        if subject_kind == "customer":
            return [(f"customer:{row['key']}", row) for row in STORY.customers]
        if subject_kind == "service":
            return [(f"service:{row['service']}", row) for row in STORY.services]
        if subject_kind == "project":
            return [(f"project:{row['key']}", _project_slots(row)) for row in STORY.projects]
        return [(f"team:{team}", {"team": team}) for team in STORY.teams]

    def build_context(self, timestamp: datetime, source: str = "") -> dict[str, str]:
        """Choose the words of a thread once, so that all its steps are about the same things."""
        rng, day = self.rng, (timestamp - self.clock.start_time).days
        person, colleague = rng.sample(_list_colleagues(source), 2)
        service, customer = rng.choice(STORY.services), rng.choice(STORY.customers)
        issue, alert = rng.choice(STORY.issues), rng.choice(STORY.alerts)
        team = self.get_team_name(rng.choice(STORY.teams), timestamp)
        language_key = rng.choice(tuple(STORY.templates_by_language))
        product = "Harbor" if timestamp > self.clock.renamed_at and rng.random() < 0.93 else "Dispatch"
        context = {
            **_person_slots(person),
            **customer,
            **service,
            **_project_slots(rng.choice(STORY.projects)),
            "other": colleague["person"].split()[0],
            "other_handle": colleague["handle"],
            "ben": "Ben",
            "library": rng.choice(STORY.libraries[service["lang"]]),
            **issue,
            "area_key": issue["area"].lower().replace(" ", "-"),
            "metric": alert["metric"],
            "reason": self.templates.expand(alert["reason"], timestamp, {}),
            "team": team,
            "product": f"Larkspur {product}",
            "product_key": product.lower(),
            "pr": str(1080 + day * 3 + rng.randrange(30)),
            "ticket": f"LS-{50_000 + day * 24 + rng.randrange(24)}",
            "version": f"{timestamp.year % 100}.{timestamp.isocalendar().week}.{rng.randrange(9)}",
            "deal": f"{customer['key']}-{rng.randrange(1, 7)}",
            "inv": f"LK-{timestamp.year}-{rng.randrange(1, 9999):04}",
            "meeting": f"{timestamp.date()}-{team}",
            "mood": rng.choice(STORY.words_by_slot["mood"]),
        }
        context["seen"] = self.templates.expand(alert["observation"], timestamp, context)
        change_text, change_reason = self.choose_change(service["service"])
        context |= {
            "change": self.templates.expand(change_text, timestamp, context),
            "why": self.templates.expand(change_reason, timestamp, context),
        }
        agenda = rng.choice(STORY.specific_agenda if rng.random() < 0.22 else STORY.common_agenda)
        context |= {slot: self.templates.expand(text, timestamp, context) for slot, text in agenda.items()}
        extra_slots = {
            "key": language_key,
            "city": next(row["city"] for row in STORY.customers if row["key"] == language_key),
            "dates": "numeric",
        }
        context["tongue"] = self.templates.expand(
            rng.choice(STORY.templates_by_language[language_key]), timestamp, {**context, **extra_slots}
        )
        context["tongue_subject"] = f"customer:{language_key}"
        return context

    def choose_change(self, service: str) -> tuple[str, str]:
        if self.rng.random() < 0.25:
            change = self.rng.choice([row for row in STORY.changes if row["service"] == service])
            return change["change"], change["why"]
        return self.rng.choice(STORY.words_by_slot["chore"]), self.rng.choice(STORY.words_by_slot["chore_why"])

    def get_team_name(self, team: str, timestamp: datetime) -> str:
        return "fleet" if team in REORGANIZED_TEAMS and timestamp >= self.clock.reorganized_at else team


def _list_colleagues(source: str) -> Sequence[Row]:
    """Return the people that a source deals with: lawyers do not restart pods."""
    if source in {"claude-code", "ops-watch"}:
        return [row for row in STORY.people if "Engineer" in row["role"]]
    if source == "sales-copilot":
        return [row for row in STORY.people if row["team"] in {"sales", "success"}]
    return STORY.people


def _person_slots(row: Row) -> Row:
    return row | {"first": row["person"].split()[0]}


def _project_slots(row: Row) -> Row:
    lead = next(person["person"].split()[0] for person in STORY.people if person["handle"] == row["lead"])
    return {"project_key": row["key"], "project": row["name"], "lead": lead}
