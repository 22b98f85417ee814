"""The times of the demo's story: fixed days, and random times at which people and machines write."""

from datetime import UTC, date, datetime, time, timedelta
from random import Random

DAYS = 120
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
OFFICE_HOUR_WEIGHTS = (0, 0, 0, 0, 1, 2, 5, 12, 20, 22, 21, 17, 12, 17, 20, 19, 15, 10, 7, 5, 4, 3, 1, 0)
MACHINE_HOUR_WEIGHTS = (6, 6, 5, 5, 9, 11, 10, 10, 12, 12, 12, 10, 9, 10, 12, 12, 10, 8, 7, 7, 7, 6, 6, 6)


class StoryClock:
    """The DAYS days before `end_time`, which is aware. Weeks count from the first Monday."""

    def __init__(self, rng: Random, end_time: datetime) -> None:
        self.rng = rng
        self.end_time = end_time.astimezone(UTC)
        self.start_time = self.end_time - timedelta(days=DAYS)
        first_day = self.start_time.date() + timedelta(days=1)
        self.first_monday = first_day + timedelta(days=-first_day.weekday() % 7)
        self.reorganized_at = self.story_time(6, "Mon")
        self.renamed_at = self.story_time(11, "Tue")

    def contains(self, timestamp: datetime) -> bool:
        return self.start_time <= timestamp <= self.end_time

    def story_time(self, week: int, weekday: str, clock: str = "00:00") -> datetime:
        day = self.first_monday + timedelta(weeks=week, days=WEEKDAYS.index(weekday))
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
            timestamp = self._random_time_in_hour(day, self.rng.choices(range(24), hour_weights)[0])
            if self.contains(timestamp):
                return timestamp

    def follow_up_time(self, timestamp: datetime, hour_range: tuple[float, float], source: str) -> datetime:
        """Return the time of a follow-up, moved to working hours if a person has to write it."""
        timestamp += timedelta(hours=self.rng.uniform(*hour_range))
        if source == "ops-watch" or hour_range[1] <= 6 or (timestamp.weekday() < 5 and 6 <= timestamp.hour < 19):
            return timestamp
        day = timestamp.date() + timedelta(days=1 if timestamp.hour >= 19 else 0)
        while day.weekday() > 4:
            day += timedelta(days=1)
        return max(timestamp, self._random_time_in_hour(day, self.rng.randrange(7, 12)))

    def _random_time_in_hour(self, day: date, hour: int) -> datetime:
        timestamp = datetime.combine(day, time(hour), UTC)
        return timestamp + timedelta(seconds=self.rng.randrange(3600), microseconds=self.rng.randrange(1_000_000))


def format_day(day: date) -> str:
    return f"{day.day} {day:%B}"
