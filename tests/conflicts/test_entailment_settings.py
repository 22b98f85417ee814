"""MEMORYHUB_NLI_MODEL: what is wrong with it stands in a sentence, at the start and with the doctor."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks

from memoryhub.config import Config
from memoryhub.conflicts import entailment
from memoryhub.conflicts.entailment import Model
from memoryhub.ops.doctor import Finding, Level, examine
from tests.conflicts.tiny_model import save
from tests.ops.processes import process

SAYS = {"closed": {"contradiction": 4.0}}


def spoil(folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Make one thing wrong with a good model."""
    graph, config = folder / "model.onnx", folder / "config.json"
    if wrong.startswith("no "):
        (folder / wrong.removeprefix("no ")).unlink()
    elif wrong == "no_libraries":
        monkeypatch.setattr(entailment, "find_spec", lambda name: None if name == "onnxruntime" else name)
    elif wrong == "pointer":
        graph.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    elif wrong == "empty":
        graph.write_bytes(b"")
    else:
        config.write_text(wrong)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good model, which is set."""
    made = save(tmp_path / "model", SAYS)
    monkeypatch.setattr(settings.MEMORYHUB, "nli_model", made)
    return made


def complaints() -> list[str]:
    return [str(found.msg) for found in run_checks(tags=["memoryhub"])]


def row() -> list[Finding]:
    return [finding for finding in examine() if finding.check == "language model"]


def labels(*names: str) -> str:
    return json.dumps({"id2label": dict(enumerate(names))})


BAD = {
    "no config.json": "has no config.json. Export the model",
    "no tokenizer.json": "has no tokenizer.json. Export the model",
    "no model.onnx": "has neither model.onnx nor onnx/model.onnx. Export the model",
    "pointer": "is no ONNX. Export the model",
    "empty": "is no ONNX. Export the model",
    "{": "does not name the labels contradiction, entailment and neutral",
    "[]": "does not name the labels contradiction, entailment and neutral",
    "{}": "does not name the labels contradiction, entailment and neutral",
    labels("positive", "negative"): "does not name the labels contradiction, entailment and neutral",
    labels("neutral", "neutral", "entailment"): "does not name the labels contradiction, entailment and neutral",
    '{"id2label": {"first": "neutral"}}': "does not name the labels contradiction, entailment and neutral",
    "no_libraries": "needs onnxruntime. Install them with `pip install --require-hashes -r requirements/nli.lock`",
}


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", BAD)
def test_what_is_wrong_is_said_at_the_start_and_by_the_doctor(folder, monkeypatch, wrong):
    spoil(folder, monkeypatch, wrong)

    (said,) = complaints()
    (finding,) = row()

    assert BAD[wrong] in said
    assert said.endswith("or leave MEMORYHUB_NLI_MODEL empty.")
    assert (finding.level, finding.said) == (Level.WARN, said)


def test_a_folder_that_is_none_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(settings.MEMORYHUB, "nli_model", tmp_path / "nowhere")

    (said,) = complaints()

    assert said == (
        f"There is no folder {tmp_path / 'nowhere'}. Name one on this machine that holds the model, or leave"
        " MEMORYHUB_NLI_MODEL empty."
    )


def test_a_folder_that_cannot_be_read_is_said(folder, monkeypatch):
    def refuse(*_: Any) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(entailment, "_begins_like_onnx", refuse)

    assert complaints() == [
        f"{folder} cannot be read (Permission denied). Let memoryhub read it, or leave MEMORYHUB_NLI_MODEL empty."
    ]


def test_the_start_looks_at_files_and_loads_nothing(folder, monkeypatch):
    def refuse(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(entailment, "_load", refuse)
    monkeypatch.setattr(entailment, "_digest", refuse)

    assert complaints() == []


@pytest.mark.django_db
@pytest.mark.parametrize("spoilt", ["model.onnx", "tokenizer.json"])
def test_what_shows_when_it_is_loaded_the_doctor_says(folder, spoilt):
    (folder / spoilt).write_bytes(b"\x08\x08 and no more")

    assert complaints() == []
    (finding,) = row()
    assert finding.level is Level.WARN
    assert finding.said.startswith("The language model is passed over: it cannot be loaded: ")
    assert "by the rules alone" in finding.hint


@pytest.mark.django_db
def test_the_doctor_asks_a_good_model_and_tells_how_long_it_took(folder):
    (finding,) = row()

    assert finding.level is Level.OK
    assert finding.said.startswith(f"The language model {Model(folder).digest[:12]} compares two short sentences in ")
    assert finding.said.endswith(" ms.")


@pytest.mark.django_db
def test_without_the_setting_the_doctor_says_nothing_of_it():
    assert row() == []
    assert complaints() == []


def test_it_is_a_folder_or_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMORYHUB_NLI_MODEL", "models/nli")
    assert Config().nli_model == tmp_path / "models" / "nli"

    monkeypatch.setenv("MEMORYHUB_NLI_MODEL", "")
    assert Config().nli_model is None


def test_the_server_does_not_start_with_one_that_is_not_there(tmp_path):
    variables = {"MEMORYHUB_HOME": str(tmp_path / "home"), "MEMORYHUB_NLI_MODEL": str(tmp_path / "nowhere")}
    with process("manage.py", "serve", **variables) as server:
        said, _ = server.communicate(timeout=60)

    assert server.returncode == 1
    assert f"There is no folder {tmp_path / 'nowhere'}." in said
    assert "Traceback" not in said
