"""Honest clients, and how long they wait."""

import http.client
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field


@dataclass
class Waits:
    """The seconds that answers took, and the statuses of those that were not a success."""

    seconds: list[float] = field(default_factory=list)
    failures: list[int | str] = field(default_factory=list)

    def quantile(self, part: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


@dataclass(frozen=True, kw_only=True)
class Probe:
    method: str
    path: str
    key: str = ""
    pause_seconds: float = 0.05

    def ask(self, port: int, seconds: float) -> Waits:
        """Ask one after the other for so long, each on a connection of its own, as a liveness probe does."""
        waits = Waits()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            try:
                status: int | str = self._once(port)
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            waits.seconds.append(time.monotonic() - started)
            if status not in (200, 201):
                waits.failures.append(status)
            time.sleep(self.pause_seconds)
        return waits

    def _once(self, port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        body = None
        if self.method == "POST":
            headers["Content-Type"] = "application/json"
            body = json.dumps({"payload_id": str(uuid.uuid4()), "content": "Ada lives in Paris."})
        try:
            connection.request(self.method, self.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def ask_all(probes: dict[str, Probe], port: int, seconds: float) -> dict[str, Waits]:
    with ThreadPoolExecutor(len(probes)) as pool:
        answers = {name: pool.submit(probe.ask, port, seconds) for name, probe in probes.items()}
        return {name: future.result() for name, future in answers.items()}
