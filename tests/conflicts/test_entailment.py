"""What a language model adds where plain features leave a question in doubt, and that it takes nothing else along."""

import html
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.http import QueryDict

from memoryhub.conflicts import classes, detector, entailment, groups, method, prospects
from memoryhub.conflicts.detector import Value, Verdict, compare
from memoryhub.conflicts.encoder import Encoder
from memoryhub.conflicts.entailment import MOST_TOKENS, Model, Opinion, Unusable
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.models import GroupClass
from memoryhub.conflicts.verify import verify
from memoryhub.conflicts.weights import WEIGHTS
from memoryhub.firewall.types import everything
from tests.builders import make_key, make_memory
from tests.conflicts.runs import ADMIN, make_group, make_policy
from tests.conflicts.test_groups import found
from tests.conflicts.tiny_model import BOOM, save
from tests.inspector import pages
from tests.ops.processes import process

WORKS, QUIT = "Ada works for the bank.", "Ada quit the bank."
OPEN, COLLAPSED = "The bridge is open to cars.", "The bridge collapsed."
ROSES, AND_TULIPS = "Kofi likes roses.", "Kofi likes roses and tulips."
SAYS = {
    "quit": {"contradiction": 4.0},
    "grows": {"entailment": 4.0},
    "collapsed": {"contradiction": 4.0},
    "likes": {"contradiction": 9.0},
    "idle": {"neutral": 4.0},
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Set the model, as an operator would before the start."""
    return lambda folder: monkeypatch.setattr(settings.MEMORYHUB, "nli_model", folder)


@pytest.fixture
def model(tmp_path: Path, use: Callable[[Path], None]) -> Model:
    """The model that is in use."""
    use(save(tmp_path / "model", SAYS))
    in_use = entailment.in_use()
    assert in_use
    return in_use


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The pairs that a model was asked about."""
    pairs: list[tuple[str, str]] = []
    ask = Model.ask

    def noted(self: Model, one: str, other: str) -> Opinion:
        pairs.append((one, other))
        return ask(self, one, other)

    monkeypatch.setattr(Model, "ask", noted)
    return pairs


def compared(one: str, other: str) -> Verdict:
    a, b = (Value(content=content, timestamp=NOON, actor_id=name) for content, name in ((one, "a"), (other, "b")))
    return compare(a, b)


def bars(verdict: Verdict) -> dict[str, str]:
    """What the language model said, in words."""
    return {bar.name: bar.words for bar in verdict.features if bar.name.startswith("nli_")}


# ---- The model


@pytest.mark.parametrize(
    "labels",
    [
        ("contradiction", "entailment", "neutral"),
        ("entailment", "neutral", "contradiction"),
        ("NEUTRAL", "Contradiction", "ENTAILMENT"),
    ],
    ids=str,
)
def test_the_labels_stand_for_what_the_configuration_says(tmp_path, labels):
    said = Model(save(tmp_path, SAYS, labels=labels)).ask("She works.", "She quit.")

    sure, unsure = math.exp(4) / (math.exp(4) + 2), 1 / (math.exp(4) + 2)
    assert said.contradiction == pytest.approx(sure)
    assert (said.entailment, said.neutral) == pytest.approx((unsure, unsure))


def test_an_opinion_is_the_mean_of_both_directions(tmp_path):
    model = Model(save(tmp_path, SAYS, only_second=True))

    said = model.ask("She works.", "She quit.")

    sure = math.exp(4) / (math.exp(4) + 2)
    assert said.contradiction == pytest.approx((sure + 1 / 3) / 2)
    assert model.ask("She quit.", "She works.") == said


@pytest.mark.parametrize("inputs", [("input_ids",), ("attention_mask", "input_ids")], ids=str)
def test_a_model_is_given_what_it_declares(tmp_path, inputs):
    model = Model(save(tmp_path, SAYS, inputs=inputs, graph="onnx/model.onnx"))

    assert model.ask("She works.", "She quit.").contradiction > 0.9


def test_a_model_that_asks_for_something_else_is_not_used(tmp_path):
    model = Model(save(tmp_path, SAYS, inputs=("input_ids", "bbox")))

    with pytest.raises(Unusable, match="it asks for bbox"):
        model.ask("She works.", "She quit.")


@pytest.mark.parametrize(("config", "tokens"), [({}, MOST_TOKENS), ({"max_position_embeddings": 20}, 20)], ids=str)
def test_of_a_long_text_the_end_is_cut_and_the_short_one_is_read_whole(tmp_path, config, tokens):
    model = Model(save(tmp_path, SAYS, **config))
    # Three marks, and three words of the short text.
    most = tokens - 6

    assert model.ask("word " * 2_000, "and she quit").contradiction > 0.9
    assert model.ask("word " * (most - 1) + "quit " + "word " * 2_000, "and she works").contradiction > 0.9
    assert model.ask("word " * most + "quit " + "word " * 2_000, "and she works").contradiction == pytest.approx(1 / 3)


def test_two_threads_at_once_load_it_once(tmp_path, monkeypatch):
    model = Model(save(tmp_path, SAYS))
    load = entailment._load
    loaded = []

    def slowly(folder: Path) -> Any:
        loaded.append(folder)
        time.sleep(0.05)
        return load(folder)

    monkeypatch.setattr(entailment, "_load", slowly)
    with ThreadPoolExecutor(4) as threads:
        said = set(threads.map(lambda _: model.ask("She works.", "She quit."), range(20)))

    assert (len(said), len(loaded)) == (1, 1)


def test_other_files_are_another_model(tmp_path):
    one = Model(save(tmp_path / "one", SAYS))
    same = Model(save(tmp_path / "same", SAYS))
    other = Model(save(tmp_path / "other", {**SAYS, "quit": {"contradiction": 3.9}}))
    (same.folder / "model.onnx_data").write_bytes(b"numbers")

    assert one.digest == Model(one.folder).digest
    assert len({one.digest, other.digest, Model(same.folder).digest}) == 3


# ---- What it changes


def test_a_pair_in_doubt_is_of_another_class_with_it(model, use):
    with_it = compared(WORKS, QUIT)
    use(None)
    without = compared(WORKS, QUIT)

    assert (without.klass, with_it.klass) == ("paraphrase", "contradiction")
    assert bars(with_it)["nli_contradiction"] == "the language model finds a contradiction (0.96)"
    assert bars(without) == {}
    plain = [bar for bar in with_it.features if bar.name not in bars(with_it)]
    assert plain[: len(without.features)] == list(without.features)


def test_two_values_that_share_no_word_may_be_related(model, use):
    assert compared(OPEN, COLLAPSED).klass == "contradiction"
    assert bars(compared(OPEN, COLLAPSED))["nli_neutral"] == (
        "the language model finds that one bears on the other (0.98)"
    )

    use(None)
    assert compared(OPEN, COLLAPSED).klass == "unrelated"


def test_what_follows_from_the_other_speaks_for_a_paraphrase(model):
    verdict = compared("Kofi keeps a garden of roses.", "Kofi grows roses in a garden.")

    assert verdict.klass == "paraphrase"
    assert bars(verdict)["nli_contradiction"] == ("the language model finds that one follows from the other (0.96)")


def test_what_has_nothing_to_do_with_the_other_speaks_for_two_facts(model):
    verdict = compared(WORKS, "Ada sits idle at the bank.")

    assert bars(verdict)["nli_neutral"] == "the language model finds that neither bears on the other (0.96)"


def test_it_is_asked_once_about_a_pair_in_doubt(model, asked):
    assert set(bars(compared(WORKS, QUIT))) == {"nli_neutral", "nli_contradiction"}
    assert asked == [(WORKS, QUIT)]


@pytest.mark.parametrize(
    ("one", "other", "klass"),
    [
        (ROSES, AND_TULIPS, "paraphrase"),
        ("Kofi plays chess with Ada.", "Grace quit.", "unrelated"),
        (QUIT, QUIT.upper(), "duplicate"),
        ("quit job", "new job", "contradiction"),
        ("quit", "none", "contradiction"),
    ],
)
def test_a_pair_that_is_certain_and_bare_values_it_is_not_asked_about(model, asked, one, other, klass):
    verdict = compared(one, other)

    assert (verdict.klass, asked) == (klass, [])
    assert verdict.version == method.current().version


def test_the_order_of_the_values_makes_no_difference(tmp_path, use, monkeypatch):
    use(save(tmp_path, SAYS, only_second=True))
    read: list[tuple[str, str]] = []
    shares = Encoder.shares

    def noted(self: Encoder, one: str, other: str) -> dict[str, float]:
        read.append((one, other))
        return shares(self, one, other)

    monkeypatch.setattr(Encoder, "shares", noted)
    one, other = compared(WORKS, QUIT), compared(QUIT, WORKS)

    assert (one.klass, one.confidence, one.features) == (other.klass, other.confidence, other.features)
    assert bars(one)
    # What is added up in another order may differ in its last digit, and so may the class.
    assert read == [(QUIT, WORKS)] * 2


def test_a_version_names_the_model(model, use):
    assert method.current().version == compared(WORKS, QUIT).version == f"{WEIGHTS.version}+nli-{model.digest[:12]}"
    assert len(method.current().version) <= (GroupClass._meta.get_field("version").max_length or 0)

    use(None)
    assert method.current().version == compared(WORKS, QUIT).version == WEIGHTS.version


def test_without_the_setting_nothing_is_imported(tmp_path):
    program = """
import sys, django
django.setup()
from tests.conflicts import test_detector
from memoryhub.conflicts.detector import compare
verdict = compare(test_detector.value("Ada works for the bank."), test_detector.value("Ada quit the bank."))
print(verdict.klass, sorted({"numpy", "onnxruntime", "tokenizers"} & {name.partition(".")[0] for name in sys.modules}))
"""
    with process("-c", program, DJANGO_SETTINGS_MODULE="memoryhub.settings", MEMORYHUB_HOME=str(tmp_path)) as child:
        said, _ = child.communicate(timeout=60)

    assert said == "paraphrase []\n"


# ---- A model that fails


@pytest.fixture
def failing(tmp_path: Path, use: Callable[[Path], None]) -> Path:
    """A model that does not load; what its files look like from outside is well."""
    folder = save(tmp_path / "failing", SAYS)
    (folder / "model.onnx").write_bytes(b"\x08\x08 and no more")
    use(folder)
    return folder


def test_a_model_that_fails_is_passed_over_and_the_log_says_so_once(model, caplog):
    secret, other = f"Ada works for the {BOOM} bank.", f"Ada quit the {BOOM} bank."

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        verdicts = [compared(secret, other) for _ in range(3)]

    assert {(verdict.klass, verdict.version) for verdict in verdicts} == {("paraphrase", WEIGHTS.version)}
    assert not any(map(bars, verdicts))
    (line,) = caplog.records
    told = str(line.msg)
    assert "the language model is passed over" in told
    assert "InvalidArgument" in told
    assert not {word for word in ("Ada", "bank", "quit", BOOM) if word in told}
    assert compared(WORKS, QUIT).version == method.current().version


def test_a_model_that_answers_with_no_number_is_passed_over(tmp_path, use, caplog):
    use(save(tmp_path, {"quit": {"contradiction": math.nan}}))

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert compared(WORKS, QUIT).klass == "paraphrase"

    assert "it does not answer with three finite logits for each pair" in str(caplog.records[0].msg)


def test_text_that_no_library_takes_is_compared_without_it(model):
    assert compared(f"{WORKS}\ud800", QUIT).klass == "paraphrase"


def test_a_model_that_does_not_load_is_tried_once(failing, monkeypatch, caplog):
    loads = []
    load = entailment._load

    def noted(folder: Path) -> Any:
        loads.append(folder)
        return load(folder)

    monkeypatch.setattr(entailment, "_load", noted)

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert {compared(WORKS, QUIT).klass for _ in range(3)} == {"paraphrase"}

    assert (loads, len(caplog.records)) == ([failing], 1)


def test_a_model_that_went_away_is_as_none(tmp_path, use, caplog):
    use(tmp_path / "gone")

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert {compared(WORKS, QUIT).version for _ in range(3)} == {WEIGHTS.version}

    assert len(caplog.records) == 1


# ---- Groups, kept and told

stored = pytest.mark.django_db


def say(*contents: str, subject: str = "user:ada") -> None:
    for number, content in enumerate(contents):
        make_memory(subject=subject, collection="facts", content=content, actor_id=f"actor-{number}")


def kept() -> dict[str, str]:
    return {each.version: each.klass for each in GroupClass.objects.all()}


@stored
def test_another_model_is_another_version_and_classes_are_computed_anew(model, tmp_path, use):
    say(WORKS, QUIT)
    use(None)
    assert ([group.klass for group in found()], kept()) == (["paraphrase"], {WEIGHTS.version: "paraphrase"})

    use(model.folder)
    assert [group.klass for group in found()] == ["contradiction"]
    assert kept() == {f"{WEIGHTS.version}+nli-{model.digest[:12]}": "contradiction"}

    use(save(tmp_path / "other", {"quit": {"entailment": 4.0}}))
    assert [group.klass for group in found()] == ["paraphrase"]
    assert kept() == {method.current().version: "paraphrase"}


@stored
def test_classes_that_are_kept_are_not_asked_about_again(model, asked):
    say(WORKS, QUIT)
    assert len(found()) == 1

    before = len(asked)
    assert [group.klass for group in found()] == ["contradiction"]
    assert len(asked) == before == 1


@stored
def test_a_class_is_not_kept_while_the_model_fails(failing):
    say(WORKS, QUIT)

    assert [group.klass for group in found()] == ["paraphrase"]
    assert kept() == {}


@stored
def test_a_class_that_does_not_hang_on_the_model_is_kept_while_it_fails(failing):
    say(ROSES, AND_TULIPS)

    assert [group.klass for group in found()] == ["paraphrase"]
    assert kept() == {method.current().version: "paraphrase"}


@stored
def test_what_was_kept_is_not_held_against_a_model_that_fails_since(model, monkeypatch):
    say(WORKS, QUIT)
    assert verify([everything()]).findings == []
    assert kept() == {method.current().version: "contradiction"}

    def fail(*_: str) -> Opinion:
        raise Unusable("it is out of order")

    monkeypatch.setattr(model, "ask", fail)
    assert verify([everything()]).findings == []


@stored
def test_a_list_of_one_class_looks_at_fewer_groups_where_each_may_be_asked_about(model, use, monkeypatch):
    for number in range(3):
        say(WORKS, QUIT, subject=f"user:{number}")
    monkeypatch.setattr(classes, "MOST_COMPARED", 2 * method.MODEL_COST)

    def counted() -> tuple[int, bool]:
        counts = classes.counts(GroupFilterSet(QueryDict(), clearance=everything()))
        return counts.total, counts.capped

    assert counted() == (2, True)
    use(None)
    assert counted() == (3, False)


@stored
def test_a_page_ends_before_its_limit_where_each_group_may_be_asked_about(model, use, monkeypatch):
    for number in range(3):
        say(WORKS, QUIT, subject=f"user:{number}")
    monkeypatch.setattr(groups, "MOST_ON_A_PAGE", 2 * method.MODEL_COST)

    def first() -> groups.GroupPage:
        filters = GroupFilterSet(QueryDict(), clearance=everything())
        return groups.page(filters, reader=ADMIN, parameters={"limit": "3"})

    assert (len(first().groups), first().next_cursor is None) == (2, False)
    assert [group.key[0] for group in found()] == ["user:0", "user:1", "user:2"]
    use(None)
    assert (len(first().groups), first().next_cursor) == (3, None)


@stored
def test_a_policy_looks_at_fewer_groups_at_once_where_each_may_be_asked_about(model, asked):
    for number in range(3):
        make_group(f"user:{number}", WORKS, QUIT)

    steps = list(prospects.dry_run(make_policy(), by=ADMIN, at_once=2 * method.MODEL_COST))

    assert [[each.klass for each in step] for step in steps] == [["update"] * 2, ["update"]]
    assert len(asked) == 3


def test_a_group_is_asked_about_until_one_pair_contradicts(model, asked):
    values = [Value(content=content, timestamp=NOON) for content in (WORKS, QUIT, OPEN, COLLAPSED)]
    detector.group_verdict(values[:2])
    assert len(asked) == 1

    assert detector.group_verdict(values).klass == "contradiction"
    assert len(asked) == 2


@stored
def test_the_waterfall_tells_what_the_model_said(model, api):
    reader = api(make_key(clearance={"max_tier": "restricted"}))
    say(WORKS, QUIT)
    words = "the language model finds a contradiction (0.96)"

    (pair,) = reader.get(f"/api/conflicts/{id_of('user:ada', 'facts')}").json()["pairs"]
    page = pages.text(pages.signed_in().get(f"/conflicts/{id_of('user:ada', 'facts')}"))

    assert (pair["class"], pair["version"]) == ("contradiction", method.current().version)
    (bar,) = [feature for feature in pair["features"] if feature["name"] == "nli_contradiction"]
    assert (bar["question"], bar["words"]) == ("incompatible", words)
    assert bar["contribution"] == pytest.approx(bar["value"] * bar["weight"], abs=1e-3)
    assert words in html.unescape(page)
