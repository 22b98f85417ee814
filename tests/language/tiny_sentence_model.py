"""An embedding model of two words, as real as any: `east` is (value, 0), everything else (0, mark_value)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.language.tiny_model import BOOM_WORD, SPECIAL_TOKENS, create_tokenizer

WORDS = (*SPECIAL_TOKENS, "north", "east", BOOM_WORD)


def save_sentence_model(
    folder: Path,
    *,
    value: float = 1.0,
    mark_value: float = 1.0,
    mixes_batch: bool = False,
    rank: int = 3,
    pooling: Any = None,
    prompts: dict[str, str] | None = None,
    max_tokens: int | None = None,
) -> Path:
    """A model with 2 dimensions; with `mixes_batch` its vectors depend on the largest batch index of a token."""
    table = np.full((len(WORDS) - 1, 2), (0.0, mark_value), dtype=np.float32)
    table[WORDS.index("east")] = (value, 0.0)
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(table, mixes_batch=mixes_batch, rank=rank), folder / "model.onnx")
    create_tokenizer(WORDS).save(str(folder / "tokenizer.json"))
    optional_files: dict[str, Any] = {
        "1_Pooling/config.json": pooling,
        "config_sentence_transformers.json": prompts and {"prompts": prompts},
        "sentence_bert_config.json": max_tokens and {"max_seq_length": max_tokens},
    }
    for name, content in optional_files.items():
        (folder / name).unlink(missing_ok=True)
        if content:
            (folder / name).write_text(json.dumps(content))
    return folder


def _graph(table: np.ndarray, *, mixes_batch: bool, rank: int) -> onnx.ModelProto:
    numbers = {"table": table, "one": np.array([1])}
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["words"])]
    output = "words"
    if mixes_batch:
        # The scale of all numbers depends on the number of tokens in the batch, and so does their direction.
        nodes += [
            helper.make_node("ReduceSum", ["words"], ["sum"], keepdims=0),
            helper.make_node("Add", ["words", "sum"], ["mixed"]),
        ]
        output = "mixed"
    if rank == 2:
        nodes += [helper.make_node("ReduceSum", [output, "one"], ["sentences"], keepdims=0)]
        output = "sentences"
    shape: list[Any] = ["texts", "tokens", 2] if rank == 3 else ["texts", 2]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
