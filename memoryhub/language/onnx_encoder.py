"""Inference with a cross-encoder in ONNX. Only `nli` imports this module, and only for the first prediction."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from memoryhub.language.errors import ModelUnavailableError
from memoryhub.language.model_files import find_graph
from memoryhub.language.nli import MAX_TOKENS, parse_labels
from memoryhub.language.onnx_graph import OnnxGraph, positive_integers


class OnnxCrossEncoder:
    """The loaded model. Loading and predicting raise ModelUnavailableError, or any exception of the libraries."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        self.labels = parse_labels(config)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        truncation = self.tokenizer.truncation or {}
        max_tokens = min(
            [MAX_TOKENS, *positive_integers(truncation.get("max_length"), config.get("max_position_embeddings"))]
        )
        self.tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self.tokenizer.no_padding()
        graph = find_graph(folder)
        if graph is None:
            raise ModelUnavailableError("its graph is gone")
        self.graph = OnnxGraph(graph)
        self.output = "logits" if "logits" in self.graph.outputs else next(iter(self.graph.outputs))

    def predict_probabilities(self, left_text: str, right_text: str) -> dict[str, float]:
        """The probability of each label, the mean of both orders of the two texts.

        The input is one batch of two rows, `(2, tokens)`; the logits have the shape `(2, 3)`.
        """
        # One by one: for a batch the library would start a thread for every core. Both rows have the same tokens in
        # another order, so neither needs padding.
        encodings = [self.tokenizer.encode(*pair) for pair in ((left_text, right_text), (right_text, left_text))]
        logits = self.graph.run(encodings, self.output).astype(np.float64)
        probabilities = _softmax(logits).mean(axis=0)
        return dict(zip(self.labels, map(float, probabilities), strict=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    if logits.shape != (2, 3) or not np.isfinite(logits).all():
        raise ModelUnavailableError("it does not answer with three finite logits for each pair")
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
