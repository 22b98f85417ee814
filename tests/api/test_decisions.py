"""Deciding about conflicts over HTTP, undoing that, and the ledger of decisions."""

import threading
import uuid
from typing import Any

import orjson
import pytest
from django.db import connection

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import Decision
from memoryhub.memories.models import Memory
from memoryhub.ops import reads
from tests.api.answers import problem, told
from tests.builders import make_key, make_memory, make_user

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "city")
GROUP = f"/api/conflicts/{id_of(*KEY)}"
DECIDE = f"{GROUP}/decisions"
CLAIM = f"{GROUP}/claim"
DECISIONS = "/api/decisions"
NOT_ONE = {"outcome": "not_a_conflict", "reason": "Both are true."}


@pytest.fixture
def steward(api: Any) -> Any:
    return api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))


@pytest.fixture
def other(api: Any) -> Any:
    """Another steward, who sees as much."""
    return api(make_key(scopes="read inspect", clearance={"max_tier": "restricted"}))


@pytest.fixture
def low(api: Any) -> Any:
    """A steward without clearance."""
    return api(make_key(scopes="read inspect"))


def cities(*names: str, **fields: Any) -> list[Memory]:
    """Memories that say different things about one key."""
    subject, collection = KEY
    return [make_memory(subject=subject, collection=collection, content=name, **fields) for name in names]


def read(caller: Any) -> dict[str, Any]:
    answer = caller.get(GROUP)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def asked(caller: Any, **fields: Any) -> dict[str, Any]:
    """A choice about the group as `caller` reads it."""
    return {**NOT_ONE, "evidence": read(caller)["evidence"], **fields}


def decided(caller: Any, **fields: Any) -> dict[str, Any]:
    answer = caller.post(DECIDE, asked(caller, **fields))
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


def status_of(memory: Memory) -> str:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None).status


def deeds(action: str = "conflict.decide") -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action).order_by("seq"))


class TestDeciding:
    def test_keeps_one_and_tells_what_was_decided(self, steward):
        paris, berlin = cities("Paris", "Berlin")

        answer = steward.post(DECIDE, asked(steward, outcome="keep_one", keep=[str(paris.memory_id)], reason="Seen."))

        assert answer.status_code == 201, answer.content
        made = answer.json()
        assert (made["outcome"], made["conflict_id"], made["reason"]) == ("keep_one", id_of(*KEY), "Seen.")
        assert (made["kept"], made["retired"]) == ([str(paris.memory_id)], [str(berlin.memory_id)])
        assert [status_of(memory) for memory in (paris, berlin)] == ["active", "retired"]
        found = steward.get(answer["Location"])
        assert (found.json(), found["ETag"]) == (made, answer["ETag"])
        (entry,) = deeds()
        assert (entry.route, entry.request_id) == ("api:conflict-decisions", answer["X-Request-ID"])

    def test_takes_the_etag_of_what_was_read(self, steward):
        cities("Paris", "Berlin")
        tag = steward.get(GROUP)["ETag"]

        first = steward.post(DECIDE, NOT_ONE, headers={"If-Match": tag})
        again = steward.post(DECIDE, NOT_ONE, headers={"If-Match": tag})

        assert first.status_code == 201, first.content
        assert problem(again, 412, "stale")["decision"] == first.json()
        assert len(deeds()) == 1

    def test_takes_an_etag_among_others_and_after_a_claim(self, steward):
        cities("Paris", "Berlin")
        tag = steward.get(GROUP)["ETag"]
        assert steward.post(CLAIM, {}).status_code == 200
        assert steward.get(GROUP)["ETag"] != tag

        assert steward.post(DECIDE, NOT_ONE, headers={"If-Match": f'"a", {tag}, "b"'}).status_code == 201

    @pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}])
    def test_is_not_done_blindly(self, steward, headers):
        cities("Paris", "Berlin")

        problem(steward.post(DECIDE, NOT_ONE, headers=headers), 428, "precondition_required")

        assert not Decision.objects.exists()

    def test_is_not_done_on_what_has_changed_since(self, steward):
        cities("Paris", "Berlin")
        choice, tag = asked(steward), steward.get(GROUP)["ETag"]
        cities("Rome")

        assert "decision" not in problem(steward.post(DECIDE, choice), 409, "stale")
        problem(steward.post(DECIDE, NOT_ONE, headers={"If-Match": tag}), 412, "stale")
        problem(steward.post(DECIDE, asked(steward), headers={"If-Match": tag}), 412, "stale")
        for weak in (f"W/{steward.get(GROUP)['ETag']}", "none"):
            problem(steward.post(DECIDE, NOT_ONE, headers={"If-Match": weak}), 412, "stale")

        assert not Decision.objects.exists()

    @pytest.mark.parametrize("outcome", ["keep_one", "not_a_conflict", "defer", "merge"])
    def test_who_comes_second_is_told_what_happened(self, steward, other, outcome):
        """CC-06"""
        paris, _ = cities("Paris", "Berlin")
        choices: dict[str, dict[str, Any]] = {
            "keep_one": {"keep": [str(paris.memory_id)]},
            "merge": {"content": "Both."},
        }
        more = choices.get(outcome, {})
        choice = asked(other, outcome=outcome, **more)

        first = decided(steward, outcome=outcome, **more)

        assert problem(other.post(DECIDE, choice), 409, "stale")["decision"] == first
        assert len(deeds()) == 1

    def test_waits_for_who_holds_the_claim(self, steward, other):
        cities("Paris", "Berlin")
        claim = steward.post(CLAIM, {}).json()["claim"]

        told = problem(other.post(DECIDE, asked(other)), 409, "claimed")

        assert told["claim"] == claim == read(other)["claim"]
        assert decided(steward)
        assert read(other)["claim"] is None

    def test_that_is_hidden_is_missing(self, low, steward):
        """AZ-02"""
        cities("Paris", "Berlin", tier="restricted")
        choice = asked(steward)
        nowhere = f"/api/conflicts/{id_of('user:nobody', 'city')}"

        for path in ("", "/decisions", "/claim"):
            body = {"/decisions": choice, "/claim": {}}.get(path)
            answers = [
                told(low.get(place) if body is None else low.post(place, body))
                for place in (f"{GROUP}{path}", f"{nowhere}{path}", f"/api/conflicts/none{path}")
            ]
            assert answers[0] == answers[1] == answers[2], path
            assert answers[0][0] == 404
        assert not Decision.objects.exists()

    def test_of_what_is_half_hidden_is_refused_as_if_the_other_half_were_not_there(self, low, steward):
        """FW-12"""
        cities("Paris")
        choice = {**NOT_ONE, "evidence": "0" * 64}
        alone = told(low.post(DECIDE, choice))
        cities("Berlin", tier="restricted")

        assert told(low.post(DECIDE, choice)) == told(low.post(DECIDE, asked(steward))) == alone
        decided(steward)
        assert told(low.post(DECIDE, choice)) == alone

    @pytest.mark.parametrize("scopes", ["read", "inspect", "read write audit view_as declassify"])
    def test_takes_who_may_read_and_judge(self, api, steward, scopes):
        cities("Paris", "Berlin")
        agent = api(make_key(scopes=scopes, clearance={"max_tier": "restricted"}))
        made = decided(steward)

        for path, body in (
            (DECIDE, {**NOT_ONE, "evidence": made["evidence"]}),
            (CLAIM, {}),
            (f"{DECISIONS}/{made['id']}/undo", {"reason": "No."}),
        ):
            problem(agent.post(path, body), 403, "forbidden")

        assert len(deeds()) == 1

    @pytest.mark.parametrize(
        ("body", "code", "named"),
        [
            ({"reason": ""}, "invalid_value", ""), ({"reason": "x" * 1_001}, "invalid_value", "reason"),
            ({"outcome": "undo"}, "invalid_value", "outcome"), ({"outcome": "keep_one"}, "invalid_value", ""),
            ({"keep": ["x"]}, "invalid_value", "keep.0"), ({"outcome": "merge"}, "invalid_value", ""),
            ({"outcome": "keep_one", "keep": [str(uuid.uuid4())]}, "invalid_value", "keep"),
            ({"until": "2999-01-01T00:00:00Z"}, "invalid_value", ""), ({"rule": "x"}, "unknown_field", "rule"),
            ({"outcome": "defer", "until": "2001-01-01T00:00:00Z"}, "invalid_value", "until"),
            ({"evidence": 1}, "invalid_value", "evidence"),
        ],
    )  # fmt: skip
    def test_takes_a_choice_that_makes_sense(self, steward, body, code, named):
        cities("Paris", "Berlin")

        assert list(problem(steward.post(DECIDE, asked(steward, **body)), 400, code)["errors"]) == [named]
        assert list(problem(steward.post(f"{DECIDE}?x=1", asked(steward)), 400, "invalid_parameter")["errors"]) == ["x"]
        problem(steward.post(DECIDE, [NOT_ONE]), 400, "invalid_value")
        assert not Decision.objects.exists()

    def test_above_what_the_merged_memory_would_show_is_refused(self, steward):
        cities("Paris", labels=["pii"])
        cities("Berlin", tier="restricted")

        merged = decided(steward, outcome="merge", content="Paris, then Berlin.")["merged"]

        memory = steward.get(f"/api/memories/{merged}").json()
        assert (memory["classification_tier"], memory["sensitivity_labels"]) == ("restricted", ["pii"])


class TestAClaim:
    def test_is_taken_renewed_and_released(self, steward, other):
        cities("Paris", "Berlin")

        taken = steward.post(CLAIM, {})
        refused = other.post(CLAIM, {})

        assert taken.status_code == 200
        assert problem(refused, 409, "claimed")["claim"] == taken.json()["claim"] == read(other)["claim"]
        assert other.post(CLAIM, {"release": True}).json() == taken.json()
        assert steward.post(CLAIM, {}).json()["claim"]["principal"] == taken.json()["claim"]["principal"]
        assert steward.post(CLAIM, {"release": True}).json() == {"claim": None}
        assert other.post(CLAIM, {}).status_code == 200

    def test_of_who_sees_more_is_not_told_and_in_nobodys_way(self, steward, low):
        """FW-12"""
        cities("Paris", "Berlin")
        steward.post(CLAIM, {})

        assert read(low)["claim"] is None
        assert decided(low)

    def test_takes_nothing_but_that(self, steward):
        cities("Paris", "Berlin")

        problem(steward.post(CLAIM, {"release": 1}), 400, "invalid_value")
        problem(steward.post(CLAIM, {"until": "2999-01-01T00:00:00Z"}), 400, "unknown_field")
        problem(steward.post(f"{CLAIM}?x=1", {}), 400, "invalid_parameter")


class TestUndoing:
    def test_restores_what_was_retired(self, steward):
        paris, berlin = cities("Paris", "Berlin")
        made = decided(steward, outcome="keep_one", keep=[str(paris.memory_id)])

        answer = steward.post(f"{DECISIONS}/{made['id']}/undo", {"reason": "By mistake."})

        assert answer.status_code == 201, answer.content
        undo = answer.json()
        assert (undo["outcome"], undo["reverses"], undo["reason"]) == ("undo", made["id"], "By mistake.")
        assert steward.get(answer["Location"])["ETag"] == answer["ETag"]
        assert [status_of(memory) for memory in (paris, berlin)] == ["active", "active"]
        before = steward.get(f"{DECISIONS}/{made['id']}").json()
        assert (before["undone_by"], before["is_in_force"]) == (undo["id"], False)
        (entry,) = deeds("conflict.undo")
        assert (entry.route, entry.details["reason"]) == ("api:decision-undo", "By mistake.")

    def test_is_done_once(self, steward):
        cities("Paris", "Berlin")
        place = f"{DECISIONS}/{decided(steward)['id']}"
        tag = steward.get(place)["ETag"]
        undo = steward.post(f"{place}/undo", {"reason": "No."}, headers={"If-Match": tag})

        assert undo.status_code == 201, undo.content
        problem(steward.post(f"{place}/undo", {"reason": "No."}), 409, "already_undone")
        problem(steward.post(f"{place}/undo", {"reason": "No."}, headers={"If-Match": tag}), 412, "already_undone")
        problem(steward.post(f"{undo['Location']}/undo", {"reason": "No."}), 409, "is_undo")
        problem(steward.post(f"{undo['Location']}/undo", {"reason": "No."}, headers={"If-Match": "x"}), 412, "stale")
        assert len(deeds("conflict.undo")) == 1

    def test_of_what_is_hidden_is_of_what_is_missing(self, steward, low):
        cities("Paris")
        cities("Berlin", tier="restricted")
        hidden = decided(steward)["id"]

        for verb in ("", "/undo"):
            answers = [
                told(low.post(f"{place}/undo", {"reason": "No."}) if verb else low.get(place))
                for place in (f"{DECISIONS}/{hidden}", f"{DECISIONS}/{uuid.uuid4()}")
            ]
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        assert not deeds("conflict.undo")

    @pytest.mark.parametrize(
        ("body", "code"),
        [({}, "invalid_value"), ({"reason": " "}, "invalid_value"), ({"reason": "x", "run": "x"}, "unknown_field")],
    )
    def test_takes_a_reason(self, steward, body, code):
        cities("Paris", "Berlin")

        problem(steward.post(f"{DECISIONS}/{decided(steward)['id']}/undo", body), 400, code)

        assert not deeds("conflict.undo")


class TestTheLedger:
    def test_tells_what_the_filters_find_newest_first(self, steward):
        cities("Paris", "Berlin")
        made = decided(steward, reason="Both are in Europe.")
        undo = steward.post(f"{DECISIONS}/{made['id']}/undo", {"reason": "No."}).json()
        made |= {"undone_by": undo["id"], "is_in_force": False}

        page = steward.get(DECISIONS).json()

        assert page == {"decisions": [undo, made], "next_cursor": None, "has_more": False}
        for query, found in (
            ({"outcome": "undo"}, [undo]), ({"q": "EUROPE"}, [made]), ({"in_force": "true"}, []),
            ({"subject": KEY[0], "collection": KEY[1]}, [undo, made]), ({"subject": "user:bob"}, []),
            ({"memory_id": made["memory_ids"][0]}, [undo, made]), ({"principal": made["principal"]}, [undo, made]),
            ({"from": undo["at"]}, [undo]), ({"to": undo["at"]}, [made]), ({"run": str(uuid.uuid4())}, []),
        ):  # fmt: skip
            assert steward.get(DECISIONS, **query).json()["decisions"] == found, query
            lines = b"".join(steward.get(f"{DECISIONS}/export", **query)).splitlines()
            assert list(map(orjson.loads, lines)) == found, query

    def test_goes_on_where_the_page_before_ended(self, steward):
        for number in range(5):
            for content in ("Paris", "Berlin"):
                make_memory(subject=f"user:{number}", collection="city", content=content)
        for listed in steward.get("/api/conflicts").json()["conflicts"]:
            place = f"/api/conflicts/{listed['id']}/decisions"
            assert steward.post(place, {**NOT_ONE, "evidence": listed["evidence"]}).status_code == 201

        walked: list[str] = []
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            page = steward.get(DECISIONS, limit=2, cursor=page["next_cursor"]).json()
            walked += [made["subject"] for made in page["decisions"]]

        assert walked == [f"user:{number}" for number in reversed(range(5))]

    @pytest.mark.parametrize("path", [DECISIONS, f"{DECISIONS}/export"])
    def test_tells_nothing_of_decisions_on_what_is_hidden(self, steward, low, path):
        """FW-12"""
        cities("Paris", "Berlin")
        cities("Rome", tier="restricted")
        made = decided(steward)
        place = f"{DECISIONS}/{made['id']}"

        assert made["id"].encode() in content(steward.get(path))
        assert made["id"].encode() not in content(low.get(path))
        problem(low.get(place), 404, "not_found")
        group = read(low)
        assert (group["status"], group["decision"], group["decisions"]) == ("open", None, [])

    @pytest.mark.parametrize("query", ["outcome=none", "run=1", "in_force=1", "from=now", "x=1"])
    @pytest.mark.parametrize("path", [DECISIONS, f"{DECISIONS}/export"])
    def test_names_a_bad_question(self, steward, path, query):
        name, value = query.split("=")

        assert list(problem(steward.get(path, **{name: value}), 400, "invalid_parameter")["errors"]) == [name]

    def test_exports_one_decision_a_line(self, steward):
        cities("Paris", "Berlin")
        made = decided(steward)

        answer = steward.get(f"{DECISIONS}/export")

        assert answer["Content-Type"] == "application/x-ndjson"
        assert "no-store" in answer["Cache-Control"]
        assert content(answer) == orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)
        problem(steward.get(f"{DECISIONS}/export", limit=1), 400, "invalid_parameter")

    def test_shows_no_secret_to_a_session(self, client, steward):
        cities("Paris", "Berlin")
        secret = "AKIAIOSFODNN7EXAMPLE"
        made = decided(steward, reason=f"It holds {secret}.")
        client.force_login(make_user("ada"), "django.contrib.auth.backends.ModelBackend")

        for path in (DECISIONS, f"{DECISIONS}/{made['id']}", f"{DECISIONS}/export", GROUP, "/api/conflicts?status=all"):
            answer = content(client.get(path))
            assert b"It holds " in answer, path
            assert secret.encode() not in answer, path
            assert secret.encode() in content(steward.get(path)), path

    def test_who_was_told_of_a_decision_stands_in_the_ledger(self, steward):
        members = cities("Paris", "Berlin")
        made = decided(steward)

        for route, path in (("api:decisions", DECISIONS), ("api:decision", f"{DECISIONS}/{made['id']}")):
            steward.get(path)
            reads.flush()
            entry = AuditEntry.objects.get(route=route)
            assert set(entry.memory_ids) == {memory.memory_id for memory in members}


def content(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content
    return b"".join(answer) if answer.streaming else bytes(answer.content)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outcome", ["keep_one", "not_a_conflict"])
@pytest.mark.parametrize("with_tag", [False, True])
def test_of_two_stewards_who_decide_at_the_same_moment_one_does(steward, other, outcome, with_tag):
    """CC-06"""
    paris, _ = cities("Paris", "Berlin")
    choice = {"outcome": outcome, "reason": "Seen."} | (
        {"keep": [str(paris.memory_id)]} if outcome == "keep_one" else {}
    )
    found = steward.get(GROUP)
    headers = {"If-Match": found["ETag"]} if with_tag else {}
    body = choice if with_tag else {**choice, "evidence": found.json()["evidence"]}
    ready = threading.Barrier(2)
    answers: list[Any] = []

    def go(caller: Any) -> None:
        ready.wait()
        try:
            answers.append(caller.post(DECIDE, body, headers=headers))
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=(caller,)) for caller in (steward, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 201, first.content
    assert problem(second, 412 if with_tag else 409, "stale")["decision"] == first.json()
    assert len(deeds()) == 1


def test_an_empty_filter_of_the_decisions_asks_for_empty(steward):
    cities("Paris", "London")
    assert steward.post(DECIDE, asked(steward, **NOT_ONE)).status_code == 201

    def found(**filters: str) -> int:
        return len(steward.get(DECISIONS, **filters).json()["decisions"])

    assert (found(), found(collection="city"), found(collection=""), found(subject="")) == (1, 1, 0, 0)
    assert (found(q=""), found(principal="")) == (1, 0)
    for name, value in (("outcome", ""), ("in_force", ""), ("from", ""), ("run", ""), ("q", "\u200b")):
        assert list(problem(steward.get(DECISIONS, **{name: value}), 400, "invalid_parameter")["errors"]) == [name]
