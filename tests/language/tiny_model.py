"""A language model of a few words, as real as any: an ONNX graph and a tokenizer in a folder.

It adds up what each word says and knows no grammar. `BOOM_WORD` is a word that its tokenizer knows and its graph does
not.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from memoryhub.language.nli import LABELS

BOOM_WORD = "boom"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save_model(
    folder: Path,
    predictions: Mapping[str, Mapping[str, float]],
    *,
    labels: Sequence[str] = LABELS,
    inputs: Sequence[str] = INPUTS,
    only_second: bool = False,
    graph: str = "model.onnx",
    **config: Any,
) -> Path:
    """A model that adds up the `predictions` of each word for each label; with `only_second`, of the second text."""
    words = [*SPECIAL_TOKENS, *predictions, BOOM_WORD]
    table = np.zeros((2, len(words) - 1, 3), dtype=np.float32)
    for index, label in enumerate(labels):
        for word, scores in predictions.items():
            table[int(only_second) :, words.index(word), index] = scores.get(label.lower(), 0.0)
    (folder / graph).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(table, inputs), folder / graph)
    create_tokenizer(words).save(str(folder / "tokenizer.json"))
    label_names = {str(index): label for index, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps({"id2label": label_names, **config}))
    return folder


def create_tokenizer(words: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(mark, SPECIAL_TOKENS.index(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return tokenizer


def _graph(table: np.ndarray, inputs: Sequence[str]) -> onnx.ModelProto:
    """The rows of the table for all tokens, added up. Without types every token counts as one of the first text."""
    sides, size, _ = table.shape
    numbers = {"table": table.reshape(sides * size, 3), "tokens": np.array([1]), "size": np.array([size])}
    ids, nodes = "input_ids", []
    if "token_type_ids" in inputs:
        nodes += [helper.make_node("Mul", ["token_type_ids", "size"], ["offsets"])]
        nodes += [helper.make_node("Add", ["input_ids", "offsets"], ["positions"])]
        ids = "positions"
    nodes += [helper.make_node("Gather", ["table", ids], ["token_scores"])]
    nodes += [helper.make_node("ReduceSum", ["token_scores", "tokens"], ["logits"], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["pairs", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", 3])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
