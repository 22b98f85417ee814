"""How a cross-encoder in ONNX is run. Only `entailment` imports this, and only once there is something to ask."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from memoryhub.conflicts.entailment import MOST_TOKENS, Unusable, graph_of, labels_of

_FATAL = 4
"""Of onnxruntime's levels the one that tells nothing of what was put in."""
_KNOWN = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class Encoder:
    """The loaded model. Raises whatever its libraries raise, at loading as at asking, and Unusable."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        self.labels = labels_of(config)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        own = self.tokenizer.truncation or {}
        most = min([MOST_TOKENS, *_numbers(own.get("max_length"), config.get("max_position_embeddings"))])
        self.tokenizer.enable_truncation(most, strategy="longest_first")
        self.tokenizer.no_padding()
        self.session = onnxruntime.InferenceSession(
            str(graph_of(folder)), _options(), providers=["CPUExecutionProvider"]
        )
        self.types = {node.name: _TYPES.get(node.type) for node in self.session.get_inputs()}
        if strange := [name for name, type_ in self.types.items() if name not in _KNOWN or type_ is None]:
            raise Unusable(f"it asks for {', '.join(strange)}, which is not known here")
        names = [node.name for node in self.session.get_outputs()]
        self.output = "logits" if "logits" in names else names[0]

    def shares(self, one: str, other: str) -> dict[str, float]:
        """The probability of each label, the mean of `one` before `other` and of `other` before `one`.

        One batch of two rows goes in, `(2, tokens)`; logits come out, `(2, 3)`.
        """
        # One by one: to encode a batch the library would start a thread for every core. Both have the same tokens, in
        # another order, so that neither needs padding.
        rows = [self.tokenizer.encode(*pair) for pair in ((one, other), (other, one))]
        (logits,) = self.session.run([self.output], {name: self._column(name, rows) for name in self.types})
        found = _softmax(np.asarray(logits, dtype=np.float64)).mean(axis=0)
        return dict(zip(self.labels, map(float, found), strict=True))

    def _column(self, name: str, rows: list[Encoding]) -> np.ndarray:
        return np.array([getattr(row, _KNOWN[name]) for row in rows], dtype=self.types[name])


def _softmax(logits: np.ndarray) -> np.ndarray:
    if logits.shape != (2, 3) or not np.isfinite(logits).all():
        raise Unusable("it does not answer with three finite logits for each pair")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # A request has one thread, and the other cores belong to others.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    return options


def _numbers(*told: object) -> list[int]:
    return [number for number in told if isinstance(number, int) and number > 0]
