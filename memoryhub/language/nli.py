"""A local language model that decides whether one text contradicts another, follows from it, or neither.

The model is a cross-encoder for natural language inference (NLI), exported to ONNX, in a folder with the layout of
Hugging Face. Nothing is downloaded. `configured_model` returns the model that the operator has set, or None, the
default. The first prediction loads the model and imports its libraries. A failure is logged once, without any text of a
memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from memoryhub.config import Config

if TYPE_CHECKING:
    from memoryhub.language.onnx_encoder import OnnxCrossEncoder

LABELS = ("contradiction", "entailment", "neutral")
LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
GRAPH_PATHS = ("model.onnx", "onnx/model.onnx")
MAX_TOKENS = 512
"""Tokens of both texts together with the special tokens. The end of the longer text is cut first."""

_INSTALL_HINT = "Install them with `pip install --require-hashes -r requirements/nli.lock`"
_EXPORT_HINT = "Export the model with `optimum-cli export onnx`"
_UNSET_HINT = "or leave MEMORYHUB_NLI_MODEL empty."

log = structlog.get_logger("memoryhub.conflicts")


class ModelUnavailableError(Exception):
    """The model cannot be used. The message says why, and never quotes a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NliScores:
    """The probabilities of the labels for two texts: they sum to 1, and are the mean of both directions."""

    contradiction: float
    entailment: float
    neutral: float


class NliModel:
    """The model in a folder. Threads may share it: the first prediction loads it, once.

    `digest` is the SHA-256 of its files, in hex: other files are another model. Raises OSError if they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = _hash_files(folder)
        self._lock = Lock()
        self._encoder: OnnxCrossEncoder | None = None
        self._load_error = ""
        self._has_logged_failure = False

    def predict(self, left_text: str, right_text: str) -> NliScores:
        """The scores of two texts, whose order makes no difference. Raises ModelUnavailableError."""
        encoder = self._get_encoder()
        try:
            return NliScores(**encoder.predict_probabilities(*sorted((left_text, right_text))))
        except ModelUnavailableError:
            raise
        except Exception as error:
            # Messages of the libraries may quote a part of the text.
            raise ModelUnavailableError(f"it fails with {type(error).__name__}") from None

    def predict_or_none(self, left_text: str, right_text: str) -> NliScores | None:
        """Like `predict`, but None if the model is unavailable; the first failure is logged."""
        try:
            return self.predict(left_text, right_text)
        except ModelUnavailableError as error:
            with self._lock:
                is_first, self._has_logged_failure = not self._has_logged_failure, True
            if is_first:
                log.error("the language model is passed over", folder=str(self.folder), why=str(error))
            return None

    def _get_encoder(self) -> "OnnxCrossEncoder":
        with self._lock:
            if self._encoder is None and not self._load_error:
                try:
                    self._encoder = _create_encoder(self.folder)
                except Exception as error:
                    # No text has been read yet, so the message can only be about the files.
                    self._load_error = f"it cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}"
            if self._encoder is None:
                raise ModelUnavailableError(self._load_error)
            return self._encoder


def configured_model() -> NliModel | None:
    """The model in the settings, or None: the same one for the life of the process, even if its files change."""
    config: Config = settings.APP_CONFIG
    if config.nli_model is None:
        return None
    with _model_lock:
        return _cached_model(config.nli_model)


def find_config_error(folder: Path) -> str:
    """Why the model in `folder` cannot be used, and how to fix it; empty if nothing is wrong.

    Checks names, labels and the first bytes of the files. Whether the model works is known only after a prediction.
    """
    try:
        return next(_iter_config_errors(folder), "")
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror}). Let memoryhub read it, {_UNSET_HINT}"


def parse_labels(config: Mapping[str, Any]) -> list[str]:
    """The labels of the model's logits, in their order, in lower case. Raises ValueError."""
    label_by_index = config.get("id2label")
    if not isinstance(label_by_index, dict):
        raise ValueError
    labels = [str(label_by_index[index]).casefold() for index in sorted(label_by_index, key=int)]
    if sorted(labels) != sorted(LABELS):
        raise ValueError
    return labels


def find_graph(folder: Path) -> Path | None:
    return next((folder / name for name in GRAPH_PATHS if (folder / name).is_file()), None)


def _iter_config_errors(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"There is no folder {folder}. Name one on this machine that holds the model, {_UNSET_HINT}"
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            yield f"{folder} has no {name}. {_EXPORT_HINT}, {_UNSET_HINT}"
    graph = find_graph(folder)
    if graph is None:
        yield f"{folder} has neither {' nor '.join(GRAPH_PATHS)}. {_EXPORT_HINT}, {_UNSET_HINT}"
    elif not _is_onnx_file(graph):
        yield f"{graph} is no ONNX. {_EXPORT_HINT} (or fetch it with Git LFS if it is a pointer), {_UNSET_HINT}"
    if not _has_labels(folder):
        yield (
            f"{folder / 'config.json'} does not name the labels {', '.join(LABELS[:2])} and {LABELS[2]}, each once."
            f" Take a model for natural language inference, {_UNSET_HINT}"
        )
    if missing_libraries := [name for name in LIBRARIES if find_spec(name) is None]:
        yield f"The language model needs {', '.join(missing_libraries)}. {_INSTALL_HINT}, {_UNSET_HINT}"


def _has_labels(folder: Path) -> bool:
    try:
        return bool(parse_labels(json.loads((folder / "config.json").read_bytes())))
    except (OSError, ValueError, AttributeError):
        return False


def _is_onnx_file(graph: Path) -> bool:
    """Whether the first field is the format version, as in ONNX files, but not in Git LFS pointers or web pages."""
    with graph.open("rb") as file:
        return file.read(1) == b"\x08"


@lru_cache(maxsize=4)
def _cached_model(folder: Path) -> NliModel | None:
    try:
        problem = find_config_error(folder)
        model = None if problem else NliModel(folder)
    except OSError as error:
        model, problem = None, f"{folder} cannot be read: {error.strerror}."
    if model is None:
        log.error("the language model is passed over", folder=str(folder), why=problem)
    return model


_model_lock = Lock()


def _model_files(folder: Path) -> Sequence[Path]:
    """The files that determine the scores; a large graph has its weights in further files (`model.onnx_data`)."""
    graph = find_graph(folder)
    graph_files = sorted(graph.parent.glob(f"{graph.name}*")) if graph else []
    return [folder / "config.json", folder / "tokenizer.json", *graph_files]


def _hash_files(folder: Path) -> str:
    digest = sha256()
    for path in _model_files(folder):
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _create_encoder(folder: Path) -> "OnnxCrossEncoder":
    from memoryhub.language.onnx_encoder import OnnxCrossEncoder  # imports large, optional libraries

    return OnnxCrossEncoder(folder)
