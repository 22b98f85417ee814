"""The grammar of the story's texts.

`[a|b]` picks one, `{slot}` looks a word up, `{^slot}` capitalizes it, `{slot.1}` keeps its choice for the whole thread,
`{12-40}` is a number, `{+3-9d}` a date some days from the event, `{@9Tue}` the Tuesday of the story's week 9.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random

from memoryhub.demo.story import STORY
from memoryhub.demo.story_clock import StoryClock, format_day

_CHOICE_PATTERN = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT_PATTERN = re.compile(r"\{([\^@+\-\w.]+)\}")
_CLOCK_SLOTS = ("clock", "today", "weekday_after", "month", "month_after")
_LOWERCASE_NAMES = frozenset(row["service"] for row in STORY.services) | {"p95", "p99"}


class TemplateExpander:
    """Expands templates. A context holds the words of a thread by slot; with `dates` in it, dates are numeric."""

    def __init__(self, rng: Random, clock: StoryClock) -> None:
        self.rng = rng
        self.clock = clock

    def expand(self, text: str, timestamp: datetime, context: dict[str, str]) -> str:
        """Expand a template: first choices, then slots, whose values may be templates too."""
        while True:
            text, choice_count = _CHOICE_PATTERN.subn(lambda match: self.rng.choice(match[1].split("|")), text)
            if not choice_count:
                break
        return _SLOT_PATTERN.sub(lambda match: self._expand_slot(match[1], timestamp, context), text)

    def _expand_slot(self, name: str, timestamp: datetime, context: dict[str, str]) -> str:
        if name.startswith("^"):
            return capitalize_sentence(self._expand_slot(name[1:], timestamp, context))
        if name[0] in "+-@":
            return self._expand_date_slot(name, timestamp, is_numeric="dates" in context)
        if name[0].isdigit():
            return self._random_number(name)
        if name in context:
            return context[name]
        if name in _CLOCK_SLOTS:
            return self._expand_clock_slot(name, timestamp, context)
        word = self.expand(self.rng.choice(STORY.words_by_slot[name.partition(".")[0]]), timestamp, context)
        if "." in name:
            context[name] = word
        return word

    def _random_number(self, number_range: str) -> str:
        low, high = number_range.split("-")
        if "." not in number_range:
            return str(self.rng.randint(int(low), int(high)))
        return f"{self.rng.uniform(float(low), float(high)):.{max(len(part.split('.')[1]) for part in (low, high))}f}"

    def _expand_date_slot(self, name: str, timestamp: datetime, *, is_numeric: bool) -> str:
        """Expand `@9Tue`, a day of the story, or `+3-9d`, some days from the event; a weekend becomes a Monday."""
        if name[0] == "@":
            return format_day(self.clock.story_time(int(name[1:-3]), name[-3:]).date())
        low, _, high = name[1:-1].partition("-")
        days = self.rng.randint(int(low), int(high or low))
        day = timestamp.date() + timedelta(days=days if name[0] == "+" else -days)
        day += timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)
        return f"{day.day:02}.{day.month:02}." if is_numeric else format_day(day)

    def _expand_clock_slot(self, name: str, timestamp: datetime, context: Mapping[str, str]) -> str:
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


def capitalize_sentence(text: str) -> str:
    """Capitalize a sentence, unless it begins with a name in lower case."""
    if re.split("[ :,]", text, maxsplit=1)[0] in _LOWERCASE_NAMES:
        return text
    return text[:1].upper() + text[1:]
