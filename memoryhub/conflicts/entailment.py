"""A language model on this machine that says whether one text contradicts another, follows from it, or neither.

It is a cross-encoder for natural language inference, exported to ONNX, in a folder as Hugging Face lays one out.
Nothing is ever fetched. `in_use` is the one that the operator has set, or None, which is the default. The first pair
that it is asked about loads it, and imports what it needs. What goes wrong is logged once, without a word of a text.
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
    from memoryhub.conflicts.encoder import Encoder

LABELS = ("contradiction", "entailment", "neutral")
LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
GRAPHS = ("model.onnx", "onnx/model.onnx")
MOST_TOKENS = 512
"""Of both texts together, and of their marks: what goes on longer is cut, from the end of the longer text first."""

_INSTALL = "Install them with `pip install --require-hashes -r requirements/nli.lock`"
_EXPORT = "Export the model with `optimum-cli export onnx`"
_UNSET = "or leave MEMORYHUB_NLI_MODEL empty."

log = structlog.get_logger("memoryhub.conflicts")


class Unusable(Exception):
    """The model cannot be asked. It says why, and never about which text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What two texts are to each other: shares of 1, the mean of both directions."""

    contradiction: float
    entailment: float
    neutral: float


class Model:
    """The model in a folder. Threads may share it: it is loaded once, by the first question.

    `digest` is the SHA-256 of its files, in hex: other files are another model. Raises OSError if they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = _digest(folder)
        self._lock = Lock()
        self._encoder: Encoder | None = None
        self._broken = ""
        self._has_told = False

    def ask(self, one: str, other: str) -> Opinion:
        """What the model says of two texts, in whatever order they are given. Raises Unusable."""
        encoder = self._loaded()
        try:
            return Opinion(**encoder.shares(*sorted((one, other))))
        except Unusable:
            raise
        except Exception as error:
            # The libraries' own words may repeat a part of the text.
            raise Unusable(f"it fails with {type(error).__name__}") from None

    def opinion(self, one: str, other: str) -> Opinion | None:
        """The same, or None where there is no answer; the first time, the log says so."""
        try:
            return self.ask(one, other)
        except Unusable as error:
            with self._lock:
                is_first, self._has_told = not self._has_told, True
            if is_first:
                log.error("the language model is passed over", folder=str(self.folder), why=str(error))
            return None

    def _loaded(self) -> "Encoder":
        with self._lock:
            if self._encoder is None and not self._broken:
                try:
                    self._encoder = _load(self.folder)
                except Exception as error:
                    # No text has been read yet: these words are about the files.
                    self._broken = f"it cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}"
            if self._encoder is None:
                raise Unusable(self._broken)
            return self._encoder


def in_use() -> Model | None:
    """The model of the settings: the same one for the whole life of the process, whatever becomes of its files."""
    config: Config = settings.MEMORYHUB
    if config.nli_model is None:
        return None
    with _finding:
        return _found(config.nli_model)


def why_not(folder: Path) -> str:
    """What keeps the model in a folder from being used, and what to do about it; empty if nothing does.

    It looks at names, labels and first bytes. Whether the model works shows when it is asked.
    """
    try:
        return next(_troubles(folder), "")
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror}). Let memoryhub read it, {_UNSET}"


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """What the model's logits stand for, in their order, in lower case. Raises ValueError."""
    told = config.get("id2label")
    if not isinstance(told, dict):
        raise ValueError
    labels = [str(told[place]).casefold() for place in sorted(told, key=int)]
    if sorted(labels) != sorted(LABELS):
        raise ValueError
    return labels


def graph_of(folder: Path) -> Path | None:
    return next((folder / name for name in GRAPHS if (folder / name).is_file()), None)


def _troubles(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"There is no folder {folder}. Name one on this machine that holds the model, {_UNSET}"
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            yield f"{folder} has no {name}. {_EXPORT}, {_UNSET}"
    graph = graph_of(folder)
    if graph is None:
        yield f"{folder} has neither {' nor '.join(GRAPHS)}. {_EXPORT}, {_UNSET}"
    elif not _begins_like_onnx(graph):
        yield f"{graph} is no ONNX. {_EXPORT} (or fetch it with Git LFS if it is a pointer), {_UNSET}"
    if not _has_labels(folder):
        yield (
            f"{folder / 'config.json'} does not name the labels {', '.join(LABELS[:2])} and {LABELS[2]}, each once."
            f" Take a model for natural language inference, {_UNSET}"
        )
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        yield f"The language model needs {', '.join(missing)}. {_INSTALL}, {_UNSET}"


def _has_labels(folder: Path) -> bool:
    try:
        return bool(labels_of(json.loads((folder / "config.json").read_bytes())))
    except (OSError, ValueError, AttributeError):
        return False


def _begins_like_onnx(graph: Path) -> bool:
    """Whether the first field is the version of the format, with which ONNX begins and no pointer or page does."""
    with graph.open("rb") as file:
        return file.read(1) == b"\x08"


@lru_cache(maxsize=4)
def _found(folder: Path) -> Model | None:
    try:
        trouble = why_not(folder)
        model = None if trouble else Model(folder)
    except OSError as error:
        model, trouble = None, f"{folder} cannot be read: {error.strerror}."
    if model is None:
        log.error("the language model is passed over", folder=str(folder), why=trouble)
    return model


_finding = Lock()


def _files(folder: Path) -> Sequence[Path]:
    """What the answers hang on; a large graph has its numbers in files beside it, such as `model.onnx_data`."""
    graph = graph_of(folder)
    beside = sorted(graph.parent.glob(f"{graph.name}*")) if graph else []
    return [folder / "config.json", folder / "tokenizer.json", *beside]


def _digest(folder: Path) -> str:
    whole = sha256()
    for path in _files(folder):
        with path.open("rb") as file:
            whole.update(file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _load(folder: Path) -> "Encoder":
    from memoryhub.conflicts.encoder import Encoder  # what it imports is an extra, and large

    return Encoder(folder)
