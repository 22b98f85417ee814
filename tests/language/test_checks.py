"""MEMORYHUB_NLI_MODEL: what is wrong with it stands in a sentence, at the start and with the doctor."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks

from memoryhub.config import Config
from memoryhub.language import model_files, nli
from memoryhub.language.nli import NliModel
from memoryhub.operations.doctor import CheckResult, Level, run_doctor_checks
from tests.language.tiny_model import save_model
from tests.operations.processes import run_process

PREDICTIONS = {"closed": {"contradiction": 4.0}}


def break_model(folder: Path, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    """Make one thing wrong with a good model."""
    graph, config = folder / "model.onnx", folder / "config.json"
    if defect.startswith("no "):
        (folder / defect.removeprefix("no ")).unlink()
    elif defect == "no_libraries":
        monkeypatch.setattr(model_files, "find_spec", lambda name: None if name == "onnxruntime" else name)
    elif defect == "pointer":
        graph.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    elif defect == "empty":
        graph.write_bytes(b"")
    else:
        config.write_text(defect)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good model, which is set."""
    model_folder = save_model(tmp_path / "model", PREDICTIONS)
    monkeypatch.setattr(settings.APP_CONFIG, "nli_model", model_folder)
    # It needs the same libraries, and would report them, too.
    monkeypatch.setattr(settings.APP_CONFIG, "embedder", "none")
    return model_folder


def check_messages() -> list[str]:
    return [str(check.msg) for check in run_checks(tags=["memoryhub"])]


def doctor_row() -> list[CheckResult]:
    return [finding for finding in run_doctor_checks() if finding.check == "language model"]


def labels_json(*names: str) -> str:
    return json.dumps({"id2label": dict(enumerate(names))})


BROKEN_MODELS = {
    "no config.json": "has no config.json. Export the model",
    "no tokenizer.json": "has no tokenizer.json. Export the model",
    "no model.onnx": "has neither model.onnx nor onnx/model.onnx. Export the model",
    "pointer": "is no ONNX. Export the model",
    "empty": "is no ONNX. Export the model",
    "{": "does not name the labels contradiction, entailment and neutral",
    "[]": "does not name the labels contradiction, entailment and neutral",
    "{}": "does not name the labels contradiction, entailment and neutral",
    labels_json("positive", "negative"): "does not name the labels contradiction, entailment and neutral",
    labels_json("neutral", "neutral", "entailment"): "does not name the labels contradiction, entailment and neutral",
    '{"id2label": {"first": "neutral"}}': "does not name the labels contradiction, entailment and neutral",
    "no_libraries": "needs onnxruntime. Install what requirements/run.lock names, or",
}


@pytest.mark.django_db
@pytest.mark.parametrize("defect", BROKEN_MODELS)
def test_what_is_wrong_is_said_at_the_start_and_by_the_doctor(folder, monkeypatch, defect):
    break_model(folder, monkeypatch, defect)

    (message,) = check_messages()
    (finding,) = doctor_row()

    assert BROKEN_MODELS[defect] in message
    assert message.endswith("or leave MEMORYHUB_NLI_MODEL empty.")
    assert (finding.level, finding.message) == (Level.WARN, message)


def test_a_folder_that_is_none_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(settings.APP_CONFIG, "nli_model", tmp_path / "nowhere")

    (message,) = check_messages()

    assert message == (
        f"There is no folder {tmp_path / 'nowhere'}. Name one on this machine that holds the model, or leave"
        " MEMORYHUB_NLI_MODEL empty."
    )


def test_a_folder_that_cannot_be_read_is_said(folder, monkeypatch):
    def raise_permission_error(*_: Any) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(model_files, "is_onnx_file", raise_permission_error)

    assert check_messages() == [
        f"{folder} cannot be read (Permission denied). Let memoryhub read it, or leave MEMORYHUB_NLI_MODEL empty."
    ]


def test_the_start_looks_at_files_and_loads_nothing(folder, monkeypatch):
    def fail_on_load(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(nli, "_create_encoder", fail_on_load)
    monkeypatch.setattr(nli, "hash_files", fail_on_load)

    assert check_messages() == []


@pytest.mark.django_db
@pytest.mark.parametrize("broken_bytes", ["model.onnx", "tokenizer.json"])
def test_what_shows_when_it_is_loaded_the_doctor_says(folder, broken_bytes):
    (folder / broken_bytes).write_bytes(b"\x08\x08 and no more")

    assert check_messages() == []
    (finding,) = doctor_row()
    assert finding.level is Level.WARN
    assert finding.message.startswith("The language model is not used: it cannot be loaded: ")
    assert "by the rules alone" in finding.hint


@pytest.mark.django_db
def test_the_doctor_queries_a_good_model_and_reports_how_long_it_took(folder):
    (finding,) = doctor_row()

    assert finding.level is Level.OK
    assert finding.message.startswith(
        f"The language model {NliModel(folder).digest[:12]} compares two short sentences in "
    )
    assert finding.message.endswith(" ms.")


@pytest.mark.django_db
def test_without_the_setting_the_doctor_says_nothing_of_it():
    assert doctor_row() == []
    assert check_messages() == []


def test_it_is_a_folder_or_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMORYHUB_NLI_MODEL", "models/nli")
    assert Config().nli_model == tmp_path / "models" / "nli"

    monkeypatch.setenv("MEMORYHUB_NLI_MODEL", "")
    assert Config().nli_model is None


def test_the_server_does_not_start_with_one_that_is_not_there(tmp_path):
    variables = {"MEMORYHUB_HOME": str(tmp_path / "home"), "MEMORYHUB_NLI_MODEL": str(tmp_path / "nowhere")}
    with run_process("manage.py", "serve", **variables) as server:
        output, _ = server.communicate(timeout=60)

    assert server.returncode == 1
    assert f"There is no folder {tmp_path / 'nowhere'}." in output
    assert "Traceback" not in output
