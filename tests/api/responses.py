"""What every test of the API says about an answer."""

from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
PROBLEM = "application/problem+json"
PROBLEM_KEYS = {"type", "title", "status", "code", "detail", "request_id"}
BATCH_KEYS = {"results", "created", "duplicate", "updated", "conflict", "rejected"}
# What no answer may repeat: the server's insides (FW-18).
CANARIES = (
    "Traceback", 'File "', "psycopg", "django", "pgtrigger", "SQLSTATE", "DETAIL:", "HINT:", "CONTEXT:", "SELECT ",
    "INSERT ", "UPDATE ", "COPY ", "relation ", "constraint", "violates", "duplicate key value", "memories_", "_pkey",
    "api_keys", "record_clock", "fingerprint", ROOT, "site-packages", "<html", "<!DOCTYPE", "pydantic", "knox",
)  # fmt: skip


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be this problem."""
    body = assert_any_problem(response)
    assert (response.status_code, body["code"]) == (status, code), body
    return body


def assert_any_problem(response: Any) -> dict[str, Any]:
    """The body of an answer that must be some problem, well-formed and saying nothing of the server's insides."""
    assert response.status_code >= 400, response.content[:300]
    assert response["Content-Type"] == PROBLEM, (response.status_code, response["Content-Type"], response.content[:300])
    body: dict[str, Any] = response.json()
    assert body.keys() - {"errors", "decision", "claim", *BATCH_KEYS} == PROBLEM_KEYS
    assert body["status"] == response.status_code
    assert body["request_id"] == response["X-Request-ID"]
    assert "no-store" in response["Cache-Control"]
    # What the caller itself sent stands in the names of fields alone; every sentence is ours.
    sentences = " ".join(
        [body["title"], body["detail"], *(message for group in body.get("errors", {}).values() for message in group)]
    )
    assert [canary for canary in CANARIES if canary in sentences] == [], sentences
    return body


def comparable_response(response: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything that a caller can compare of an answer, without the request id and the clock."""
    request_id = response["X-Request-ID"].encode()
    headers = sorted((name, value) for name, value in response.items() if name not in ("X-Request-ID", "Date"))
    return response.status_code, headers, response.content.replace(request_id, b"<request id>")


def payload_ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [record["payload_id"] for record in response.json()["records"]]
