"""An ONNX graph that runs on one core. The module imports large libraries: import it for the first prediction only."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Encoding

from memoryhub.language.errors import ModelUnavailableError

_FATAL_LOG_LEVEL = 4
"""The log level of onnxruntime at which it logs nothing of its input."""
_ENCODING_ATTRIBUTES = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_NUMPY_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxGraph:
    """A graph whose inputs are those of an encoder. Loading raises ModelUnavailableError, or what the library raises.

    `outputs` lists its outputs with the number of their dimensions.
    """

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), _session_options(), providers=["CPUExecutionProvider"])
        self.types = {node.name: _NUMPY_TYPES.get(node.type) for node in self.session.get_inputs()}
        if unsupported_inputs := [
            name for name, type_ in self.types.items() if name not in _ENCODING_ATTRIBUTES or type_ is None
        ]:
            raise ModelUnavailableError(f"it asks for {', '.join(unsupported_inputs)}, which is not known here")
        self.outputs = {node.name: len(node.shape) for node in self.session.get_outputs()}
        release_free_memory()

    def run(self, encodings: Sequence[Encoding], output: str) -> np.ndarray:
        """One output for a batch of encodings, which have the same number of tokens."""
        (result,) = self.session.run([output], {name: self._input_array(name, encodings) for name in self.types})
        return np.asarray(result)

    def _input_array(self, name: str, encodings: Sequence[Encoding]) -> np.ndarray:
        return np.array(
            [getattr(encoding, _ENCODING_ATTRIBUTES[name]) for encoding in encodings], dtype=self.types[name]
        )


def positive_integers(*values: object) -> list[int]:
    return [value for value in values if isinstance(value, int) and value > 0]


def _session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # One thread for each request: the other cores serve other requests.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_LOG_LEVEL
    # The arena keeps the memory of the largest batch for good, and saves no measurable time.
    options.enable_cpu_mem_arena = False
    return options


def release_free_memory() -> None:
    """Give memory that is free back to the system: 70 to 110 MB after loading a small model. Without glibc, do nothing.

    Otherwise the allocator keeps it, because it lies between blocks that are in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
