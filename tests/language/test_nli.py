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

from memoryhub.conflicts.comparison_model import MODEL_COST, current_comparison_model
from memoryhub.conflicts.detector.compare import ComparedValue, PairVerdict, classify_group, compare
from memoryhub.conflicts.detector.weights import WEIGHTS
from memoryhub.conflicts.groups import class_counts, groups
from memoryhub.conflicts.groups.consistency import verify_conflicts
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.conflicts.models import GroupClassCache
from memoryhub.conflicts.policies import dry_runs
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.language import nli
from memoryhub.language.errors import ModelUnavailableError
from memoryhub.language.nli import MAX_TOKENS, NliModel, NliScores
from memoryhub.language.onnx_encoder import OnnxCrossEncoder
from tests.conflicts.groups.test_groups import list_all_groups
from tests.conflicts.policies.policy_factories import ADMIN, make_group, make_policy
from tests.factories import make_key, make_memory
from tests.inspector import clients
from tests.language.tiny_model import BOOM_WORD, save_model
from tests.operations.processes import run_process

WORKS, QUIT = "Ada works for the bank.", "Ada quit the bank."
OPEN, COLLAPSED = "The bridge is open to cars.", "The bridge collapsed."
ROSES, AND_TULIPS = "Kofi likes roses.", "Kofi likes roses and tulips."
PREDICTIONS = {
    "quit": {"contradiction": 4.0},
    "grows": {"entailment": 4.0},
    "collapsed": {"contradiction": 4.0},
    "likes": {"contradiction": 9.0},
    "idle": {"neutral": 4.0},
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def set_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Set the model, as an operator would before the start."""
    return lambda folder: monkeypatch.setattr(settings.APP_CONFIG, "nli_model", folder)


@pytest.fixture
def model(tmp_path: Path, set_model: Callable[[Path], None]) -> NliModel:
    """The model that is in use."""
    set_model(save_model(tmp_path / "model", PREDICTIONS))
    in_use = nli.configured_model()
    assert in_use
    return in_use


@pytest.fixture
def model_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The pairs that a model was asked about."""
    pairs: list[tuple[str, str]] = []
    predict = NliModel.predict

    def record_call(self: NliModel, premise: str, hypothesis: str) -> NliScores:
        pairs.append((premise, hypothesis))
        return predict(self, premise, hypothesis)

    monkeypatch.setattr(NliModel, "predict", record_call)
    return pairs


def compare_texts(text_a: str, text_b: str) -> PairVerdict:
    a, b = (
        ComparedValue(content=content, timestamp=NOON, actor_id=name)
        for content, name in ((text_a, "a"), (text_b, "b"))
    )
    return compare(a, b)


def nli_explanations(verdict: PairVerdict) -> dict[str, str]:
    """What the language model said, in words."""
    return {bar.name: bar.explanation for bar in verdict.features if bar.name.startswith("nli_")}


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
    scores = NliModel(save_model(tmp_path, PREDICTIONS, labels=labels)).predict("She works.", "She quit.")

    high_probability, low_probability = math.exp(4) / (math.exp(4) + 2), 1 / (math.exp(4) + 2)
    assert scores.contradiction == pytest.approx(high_probability)
    assert (scores.entailment, scores.neutral) == pytest.approx((low_probability, low_probability))


def test_an_opinion_is_the_mean_of_both_directions(tmp_path):
    model = NliModel(save_model(tmp_path, PREDICTIONS, only_second=True))

    scores = model.predict("She works.", "She quit.")

    high_probability = math.exp(4) / (math.exp(4) + 2)
    assert scores.contradiction == pytest.approx((high_probability + 1 / 3) / 2)
    assert model.predict("She quit.", "She works.") == scores


@pytest.mark.parametrize("inputs", [("input_ids",), ("attention_mask", "input_ids")], ids=str)
def test_a_model_is_given_what_it_declares(tmp_path, inputs):
    model = NliModel(save_model(tmp_path, PREDICTIONS, inputs=inputs, graph="onnx/model.onnx"))

    assert model.predict("She works.", "She quit.").contradiction > 0.9


def test_a_model_that_asks_for_something_else_is_not_used(tmp_path):
    model = NliModel(save_model(tmp_path, PREDICTIONS, inputs=("input_ids", "bbox")))

    with pytest.raises(ModelUnavailableError, match="it asks for bbox"):
        model.predict("She works.", "She quit.")


@pytest.mark.parametrize(("config", "tokens"), [({}, MAX_TOKENS), ({"max_position_embeddings": 20}, 20)], ids=str)
def test_of_a_long_text_the_end_is_cut_and_the_short_one_is_read_whole(tmp_path, config, tokens):
    model = NliModel(save_model(tmp_path, PREDICTIONS, **config))
    # Three marks, and three words of the short text.
    max_tokens = tokens - 6

    assert model.predict("word " * 2_000, "and she quit").contradiction > 0.9
    assert model.predict("word " * (max_tokens - 1) + "quit " + "word " * 2_000, "and she works").contradiction > 0.9
    assert model.predict(
        "word " * max_tokens + "quit " + "word " * 2_000, "and she works"
    ).contradiction == pytest.approx(1 / 3)


def test_two_threads_at_once_load_it_once(tmp_path, monkeypatch):
    model = NliModel(save_model(tmp_path, PREDICTIONS))
    load = nli._create_encoder
    loaded_folders = []

    def load_slowly(folder: Path) -> Any:
        loaded_folders.append(folder)
        time.sleep(0.05)
        return load(folder)

    monkeypatch.setattr(nli, "_create_encoder", load_slowly)
    with ThreadPoolExecutor(4) as threads:
        score_set = set(threads.map(lambda _: model.predict("She works.", "She quit."), range(20)))

    assert (len(score_set), len(loaded_folders)) == (1, 1)


def test_other_files_are_another_model(tmp_path):
    first_model = NliModel(save_model(tmp_path / "one", PREDICTIONS))
    same_model = NliModel(save_model(tmp_path / "same", PREDICTIONS))
    changed_model = NliModel(save_model(tmp_path / "other", {**PREDICTIONS, "quit": {"contradiction": 3.9}}))
    (same_model.folder / "model.onnx_data").write_bytes(b"numbers")

    assert first_model.digest == NliModel(first_model.folder).digest
    assert len({first_model.digest, changed_model.digest, NliModel(same_model.folder).digest}) == 3


# ---- What it changes


def test_a_pair_in_doubt_is_of_another_class_with_it(model, set_model):
    with_model = compare_texts(WORKS, QUIT)
    set_model(None)
    without_model = compare_texts(WORKS, QUIT)

    assert (without_model.conflict_class, with_model.conflict_class) == ("paraphrase", "contradiction")
    assert nli_explanations(with_model)["nli_contradiction"] == "the language model finds a contradiction (0.96)"
    assert nli_explanations(without_model) == {}
    other_features = [bar for bar in with_model.features if bar.name not in nli_explanations(with_model)]
    assert other_features[: len(without_model.features)] == list(without_model.features)


def test_two_values_that_share_no_word_may_be_related(model, set_model):
    assert compare_texts(OPEN, COLLAPSED).conflict_class == "contradiction"
    assert nli_explanations(compare_texts(OPEN, COLLAPSED))["nli_neutral"] == (
        "the language model finds that one bears on the other (0.98)"
    )

    set_model(None)
    assert compare_texts(OPEN, COLLAPSED).conflict_class == "unrelated"


def test_what_follows_from_the_other_speaks_for_a_paraphrase(model):
    verdict = compare_texts("Kofi keeps a garden of roses.", "Kofi grows roses in a garden.")

    assert verdict.conflict_class == "paraphrase"
    assert nli_explanations(verdict)["nli_contradiction"] == (
        "the language model finds that one follows from the other (0.96)"
    )


def test_what_has_nothing_to_do_with_the_other_speaks_for_two_facts(model):
    verdict = compare_texts(WORKS, "Ada sits idle at the bank.")

    assert nli_explanations(verdict)["nli_neutral"] == "the language model finds that neither bears on the other (0.96)"


def test_it_is_asked_once_about_a_pair_in_doubt(model, model_calls):
    assert set(nli_explanations(compare_texts(WORKS, QUIT))) == {"nli_neutral", "nli_contradiction"}
    assert model_calls == [(WORKS, QUIT)]


@pytest.mark.parametrize(
    ("text_a", "text_b", "conflict_class"),
    [
        (ROSES, AND_TULIPS, "paraphrase"),
        ("Kofi plays chess with Ada.", "Grace quit.", "unrelated"),
        (QUIT, QUIT.upper(), "duplicate"),
        ("quit job", "new job", "contradiction"),
        ("quit", "none", "contradiction"),
    ],
)
def test_a_pair_that_is_certain_and_bare_values_it_is_not_asked_about(
    model, model_calls, text_a, text_b, conflict_class
):
    verdict = compare_texts(text_a, text_b)

    assert (verdict.conflict_class, model_calls) == (conflict_class, [])
    assert verdict.version == current_comparison_model().version


def test_the_order_of_the_values_makes_no_difference(tmp_path, set_model, monkeypatch):
    set_model(save_model(tmp_path, PREDICTIONS, only_second=True))
    model_pairs: list[tuple[str, str]] = []
    predict_probabilities = OnnxCrossEncoder.predict_probabilities

    def record_call(self: OnnxCrossEncoder, premise: str, hypothesis: str) -> dict[str, float]:
        model_pairs.append((premise, hypothesis))
        return predict_probabilities(self, premise, hypothesis)

    monkeypatch.setattr(OnnxCrossEncoder, "predict_probabilities", record_call)
    forward, backward = compare_texts(WORKS, QUIT), compare_texts(QUIT, WORKS)

    assert (forward.conflict_class, forward.confidence, forward.features) == (
        backward.conflict_class,
        backward.confidence,
        backward.features,
    )
    assert nli_explanations(forward)
    # What is added up in another order may differ in its last digit, and so may the class.
    assert model_pairs == [(QUIT, WORKS)] * 2


def test_a_version_names_the_model(model, set_model):
    assert (
        current_comparison_model().version
        == compare_texts(WORKS, QUIT).version
        == f"{WEIGHTS.version}+nli-{model.digest[:12]}"
    )
    assert len(current_comparison_model().version) <= (GroupClassCache._meta.get_field("model_version").max_length or 0)

    set_model(None)
    assert current_comparison_model().version == compare_texts(WORKS, QUIT).version == WEIGHTS.version


def test_without_the_setting_nothing_is_imported(tmp_path):
    program = """
import sys, django
django.setup()
from tests.conflicts.detector import test_compare
from memoryhub.conflicts.detector.compare import compare
verdict = compare(test_compare.make_value("Ada works for the bank."), test_compare.make_value("Ada quit the bank."))
imported = {name.partition(".")[0] for name in sys.modules}
print(verdict.conflict_class, sorted({"numpy", "onnxruntime", "tokenizers"} & imported))
"""
    with run_process("-c", program, DJANGO_SETTINGS_MODULE="memoryhub.settings", MEMORYHUB_HOME=str(tmp_path)) as child:
        output, _ = child.communicate(timeout=60)

    assert output == "paraphrase []\n"


# ---- A model that fails


@pytest.fixture
def failing_model(tmp_path: Path, set_model: Callable[[Path], None]) -> Path:
    """A model that does not load; what its files look like from outside is well."""
    folder = save_model(tmp_path / "failing", PREDICTIONS)
    (folder / "model.onnx").write_bytes(b"\x08\x08 and no more")
    set_model(folder)
    return folder


def test_a_model_that_fails_is_passed_over_and_the_log_says_so_once(model, caplog):
    secret, other_text = f"Ada works for the {BOOM_WORD} bank.", f"Ada quit the {BOOM_WORD} bank."

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        verdicts = [compare_texts(secret, other_text) for _ in range(3)]

    assert {(verdict.conflict_class, verdict.version) for verdict in verdicts} == {("paraphrase", WEIGHTS.version)}
    assert not any(map(nli_explanations, verdicts))
    (line,) = caplog.records
    log_text = str(line.msg)
    assert "the language model is passed over" in log_text
    assert "InvalidArgument" in log_text
    assert not {word for word in ("Ada", "bank", "quit", BOOM_WORD) if word in log_text}
    assert compare_texts(WORKS, QUIT).version == current_comparison_model().version


def test_a_model_that_answers_with_no_number_is_passed_over(tmp_path, set_model, caplog):
    set_model(save_model(tmp_path, {"quit": {"contradiction": math.nan}}))

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert compare_texts(WORKS, QUIT).conflict_class == "paraphrase"

    assert "it does not answer with three finite logits for each pair" in str(caplog.records[0].msg)


def test_text_that_no_library_takes_is_compared_without_it(model):
    assert compare_texts(f"{WORKS}\ud800", QUIT).conflict_class == "paraphrase"


def test_a_model_that_does_not_load_is_tried_once(failing_model, monkeypatch, caplog):
    loads = []
    load = nli._create_encoder

    def record_load(folder: Path) -> Any:
        loads.append(folder)
        return load(folder)

    monkeypatch.setattr(nli, "_create_encoder", record_load)

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert {compare_texts(WORKS, QUIT).conflict_class for _ in range(3)} == {"paraphrase"}

    assert (loads, len(caplog.records)) == ([failing_model], 1)


def test_a_model_that_went_away_is_as_none(tmp_path, set_model, caplog):
    set_model(tmp_path / "gone")

    with caplog.at_level(logging.ERROR, "memoryhub.conflicts"):
        assert {compare_texts(WORKS, QUIT).version for _ in range(3)} == {WEIGHTS.version}

    assert len(caplog.records) == 1


# ---- Groups, kept and told

with_database = pytest.mark.django_db


def make_values(*contents: str, subject: str = "user:ada") -> None:
    for index, content in enumerate(contents):
        make_memory(subject=subject, collection="facts", content=content, actor_id=f"actor-{index}")


def cached_classes() -> dict[str, str]:
    return {cached.model_version: cached.conflict_class for cached in GroupClassCache.objects.all()}


@with_database
def test_another_model_is_another_version_and_classes_are_computed_anew(model, tmp_path, set_model):
    make_values(WORKS, QUIT)
    set_model(None)
    assert ([group.conflict_class for group in list_all_groups()], cached_classes()) == (
        ["paraphrase"],
        {WEIGHTS.version: "paraphrase"},
    )

    set_model(model.folder)
    assert [group.conflict_class for group in list_all_groups()] == ["contradiction"]
    assert cached_classes() == {f"{WEIGHTS.version}+nli-{model.digest[:12]}": "contradiction"}

    set_model(save_model(tmp_path / "other", {"quit": {"entailment": 4.0}}))
    assert [group.conflict_class for group in list_all_groups()] == ["paraphrase"]
    assert cached_classes() == {current_comparison_model().version: "paraphrase"}


@with_database
def test_classes_that_are_kept_are_not_asked_about_again(model, model_calls):
    make_values(WORKS, QUIT)
    assert len(list_all_groups()) == 1

    before = len(model_calls)
    assert [group.conflict_class for group in list_all_groups()] == ["contradiction"]
    assert len(model_calls) == before == 1


@with_database
def test_a_class_is_not_kept_while_the_model_fails(failing_model):
    make_values(WORKS, QUIT)

    assert [group.conflict_class for group in list_all_groups()] == ["paraphrase"]
    assert cached_classes() == {}


@with_database
def test_a_class_that_does_not_hang_on_the_model_is_kept_while_it_fails(failing_model):
    make_values(ROSES, AND_TULIPS)

    assert [group.conflict_class for group in list_all_groups()] == ["paraphrase"]
    assert cached_classes() == {current_comparison_model().version: "paraphrase"}


@with_database
def test_what_was_kept_is_not_held_against_a_model_that_fails_since(model, monkeypatch):
    make_values(WORKS, QUIT)
    assert verify_conflicts([unrestricted_clearance()]).findings == []
    assert cached_classes() == {current_comparison_model().version: "contradiction"}

    def raise_error(*_: str) -> NliScores:
        raise ModelUnavailableError("it is out of order")

    monkeypatch.setattr(model, "predict", raise_error)
    assert verify_conflicts([unrestricted_clearance()]).findings == []


@with_database
def test_a_list_of_one_class_looks_at_fewer_groups_where_each_may_be_asked_about(model, set_model, monkeypatch):
    for index in range(3):
        make_values(WORKS, QUIT, subject=f"user:{index}")
    monkeypatch.setattr(class_counts, "MAX_PAIRS_COMPARED", 2 * MODEL_COST)

    def count_groups() -> tuple[int, bool]:
        counts = class_counts.count_by_class(GroupFilterSet(QueryDict(), clearance=unrestricted_clearance()))
        return counts.total, counts.is_capped

    assert count_groups() == (2, True)
    set_model(None)
    assert count_groups() == (3, False)


@with_database
def test_a_page_ends_before_its_limit_where_each_group_may_be_asked_about(model, set_model, monkeypatch):
    for index in range(3):
        make_values(WORKS, QUIT, subject=f"user:{index}")
    monkeypatch.setattr(groups, "MAX_PAIRS_PER_PAGE", 2 * MODEL_COST)

    def first_page() -> groups.GroupPage:
        filters = GroupFilterSet(QueryDict(), clearance=unrestricted_clearance())
        return groups.list_page(filters, principal=ADMIN, params={"limit": "3"})

    assert (len(first_page().groups), first_page().next_cursor is None) == (2, False)
    assert [group.key[0] for group in list_all_groups()] == ["user:0", "user:1", "user:2"]
    set_model(None)
    assert (len(first_page().groups), first_page().next_cursor) == (3, None)


@with_database
def test_a_policy_looks_at_fewer_groups_at_once_where_each_may_be_asked_about(model, model_calls):
    for index in range(3):
        make_group(f"user:{index}", WORKS, QUIT)

    steps = list(dry_runs.iter_dry_run(make_policy(), principal=ADMIN, batch_size=2 * MODEL_COST))

    assert [[group_evaluation.conflict_class for group_evaluation in step] for step in steps] == [
        ["update"] * 2,
        ["update"],
    ]
    assert len(model_calls) == 3


def test_a_group_is_asked_about_until_one_pair_contradicts(model, model_calls):
    values = [ComparedValue(content=content, timestamp=NOON) for content in (WORKS, QUIT, OPEN, COLLAPSED)]
    classify_group(values[:2])
    assert len(model_calls) == 1

    assert classify_group(values).conflict_class == "contradiction"
    assert len(model_calls) == 2


@with_database
def test_the_waterfall_shows_the_scores_of_the_model(model, api):
    reader = api(make_key(clearance={"max_tier": "restricted"}))
    make_values(WORKS, QUIT)
    explanation = "the language model finds a contradiction (0.96)"

    (pair,) = reader.get(f"/api/conflicts/{encode_id('user:ada', 'facts')}").json()["pairs"]
    page = clients.response_text(clients.client_for_new_user().get(f"/conflicts/{encode_id('user:ada', 'facts')}"))

    assert (pair["class"], pair["version"]) == ("contradiction", current_comparison_model().version)
    (bar,) = [feature for feature in pair["features"] if feature["name"] == "nli_contradiction"]
    assert (bar["question"], bar["explanation"]) == ("contradicts", explanation)
    assert bar["contribution"] == pytest.approx(bar["value"] * bar["weight"], abs=1e-3)
    assert explanation in html.unescape(page)
