"""Inference with a cross-encoder in ONNX. Only `nli` imports this module, and only for the first prediction."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from memoryhub.language.nli import MAX_TOKENS, ModelUnavailableError, find_graph, parse_labels

_FATAL_LOG_LEVEL = 4
"""The log level of onnxruntime at which it logs nothing of its input."""
_ENCODING_ATTRIBUTES = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_NUMPY_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxCrossEncoder:
    """The loaded model. Loading and predicting raise ModelUnavailableError, or any exception of the libraries."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        self.labels = parse_labels(config)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        truncation = self.tokenizer.truncation or {}
        max_tokens = min(
            [MAX_TOKENS, *_positive_integers(truncation.get("max_length"), config.get("max_position_embeddings"))]
        )
        self.tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self.tokenizer.no_padding()
        self.session = onnxruntime.InferenceSession(
            str(find_graph(folder)), _session_options(), providers=["CPUExecutionProvider"]
        )
        self.types = {node.name: _NUMPY_TYPES.get(node.type) for node in self.session.get_inputs()}
        if unsupported_inputs := [
            name for name, type_ in self.types.items() if name not in _ENCODING_ATTRIBUTES or type_ is None
        ]:
            raise ModelUnavailableError(f"it asks for {', '.join(unsupported_inputs)}, which is not known here")
        names = [node.name for node in self.session.get_outputs()]
        self.output = "logits" if "logits" in names else names[0]

    def predict_probabilities(self, left_text: str, right_text: str) -> dict[str, float]:
        """The probability of each label, the mean of both orders of the two texts.

        The input is one batch of two rows, `(2, tokens)`; the logits have the shape `(2, 3)`.
        """
        # One by one: for a batch the library would start a thread for every core. Both rows have the same tokens in
        # another order, so neither needs padding.
        encodings = [self.tokenizer.encode(*pair) for pair in ((left_text, right_text), (right_text, left_text))]
        (logits,) = self.session.run([self.output], {name: self._input_array(name, encodings) for name in self.types})
        probabilities = _softmax(np.asarray(logits, dtype=np.float64)).mean(axis=0)
        return dict(zip(self.labels, map(float, probabilities), strict=True))

    def _input_array(self, name: str, encodings: list[Encoding]) -> np.ndarray:
        return np.array(
            [getattr(encoding, _ENCODING_ATTRIBUTES[name]) for encoding in encodings], dtype=self.types[name]
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    if logits.shape != (2, 3) or not np.isfinite(logits).all():
        raise ModelUnavailableError("it does not answer with three finite logits for each pair")
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # One thread for each request: the other cores serve other requests.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_LOG_LEVEL
    return options


def _positive_integers(*values: object) -> list[int]:
    return [value for value in values if isinstance(value, int) and value > 0]
