"""Honest clients, and how long they wait."""

import http.client
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field


@dataclass
class LatencySample:
    """The seconds that answers took, and the statuses of those that were not a success."""

    seconds: list[float] = field(default_factory=list)
    failures: list[int | str] = field(default_factory=list)

    def __str__(self) -> str:
        quantiles = ", ".join(f"p{percent} {1000 * self.quantile(percent / 100):.0f} ms" for percent in (50, 95, 99))
        return f"{quantiles} of {len(self.seconds)}"

    def quantile(self, fraction: float) -> float:
        sorted_seconds = sorted(self.seconds)
        return sorted_seconds[min(int(fraction * len(sorted_seconds)), len(sorted_seconds) - 1)]


@dataclass(frozen=True, kw_only=True)
class Probe:
    method: str
    path: str
    key: str = ""
    pause_seconds: float = 0.05

    def run(self, port: int, seconds: float) -> LatencySample:
        """Ask one after the other for so long, each on a connection of its own, as a liveness probe does."""
        sample = LatencySample()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start_time = time.monotonic()
            try:
                status: int | str = self._request_once(port)
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            sample.seconds.append(time.monotonic() - start_time)
            if status not in (200, 201):
                sample.failures.append(status)
            time.sleep(self.pause_seconds)
        return sample

    def _request_once(self, port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        body = None
        if self.method == "POST":
            headers["Content-Type"] = "application/json"
            body = json.dumps({"payload_id": str(uuid.uuid4()), "content": "Ada lives in Paris."})
        try:
            connection.request(self.method, self.path, body, headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


def run_probes(probes: dict[str, Probe], port: int, seconds: float) -> dict[str, LatencySample]:
    with ThreadPoolExecutor(len(probes)) as pool:
        answers = {name: pool.submit(probe.run, port, seconds) for name, probe in probes.items()}
        return {name: future.result() for name, future in answers.items()}
