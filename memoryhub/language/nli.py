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
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from memoryhub.config import Config
from memoryhub.language.errors import ModelUnavailableError
from memoryhub.language.lazy_model import LazyModel
from memoryhub.language.model_files import (
    find_graph,
    hash_files,
    iter_folder_errors,
    iter_library_errors,
    list_graph_files,
)

if TYPE_CHECKING:
    from memoryhub.language.onnx_encoder import OnnxCrossEncoder

LABELS = ("contradiction", "entailment", "neutral")
MAX_TOKENS = 512
"""Tokens of both texts together with the special tokens. The end of the longer text is cut first."""

_UNSET_HINT = "or leave MEMORYHUB_NLI_MODEL empty."

log = structlog.get_logger("memoryhub.conflicts")


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
        self.digest = hash_files(_list_model_files(folder))
        self._encoder = LazyModel(lambda: _create_encoder(folder))
        self._lock = Lock()
        self._has_logged_failure = False

    def predict(self, left_text: str, right_text: str) -> NliScores:
        """The scores of two texts, whose order makes no difference. Raises ModelUnavailableError."""
        encoder = self._encoder.get()
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


def _iter_config_errors(folder: Path) -> Iterator[str]:
    yield from iter_folder_errors(folder, ("config.json", "tokenizer.json"), _UNSET_HINT)
    if not _has_labels(folder):
        yield (
            f"{folder / 'config.json'} does not name the labels {', '.join(LABELS[:2])} and {LABELS[2]}, each once."
            f" Take a model for natural language inference, {_UNSET_HINT}"
        )
    yield from iter_library_errors(_UNSET_HINT)


def _has_labels(folder: Path) -> bool:
    try:
        return bool(parse_labels(json.loads((folder / "config.json").read_bytes())))
    except (OSError, ValueError, AttributeError):
        return False


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


def _list_model_files(folder: Path) -> Sequence[Path]:
    """The files that determine the scores."""
    graph = find_graph(folder)
    return [folder / "config.json", folder / "tokenizer.json", *(list_graph_files(graph) if graph else [])]


def _create_encoder(folder: Path) -> "OnnxCrossEncoder":
    from memoryhub.language.onnx_encoder import OnnxCrossEncoder  # imports large libraries

    return OnnxCrossEncoder(folder)
