"""Inference with an embedding model in ONNX. Only `local_embedder` imports this module, and only for the first text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, processors

from memoryhub.language.errors import ModelUnavailableError
from memoryhub.language.onnx_graph import OnnxGraph, release_free_memory
from memoryhub.language.sentence_model import SentenceModel

MAX_BATCH = 8
MAX_BATCH_TOKENS = 256
"""Texts, and tokens, of one run: larger batches take more memory and are not faster on one core."""
SORTED_TEXTS = 64
"""Texts whose tokens are in memory at the same time."""
UNKNOWN_WORD = "[UNK]"
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
BATCH_TOLERANCE = 1e-5
_PROBE_TEXTS = ("a", "b c d e f g h i j k l m n o p")


class SentenceEncoder:
    """The loaded model. Loading and encoding raise ModelUnavailableError, or any exception of the libraries."""

    def __init__(self, model: SentenceModel) -> None:
        self.pooling = model.pooling
        self.tokenizer = load_tokenizer(model.tokenizer)
        self.tokenizer.enable_truncation(model.max_tokens)
        self.graph = OnnxGraph(model.graph)
        self.output = self._find_output()
        self.max_batch = 1
        self.max_batch = MAX_BATCH if self._is_independent_of_batch() else 1

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, not yet at unit length."""
        return [
            vector
            for start in range(0, len(texts), SORTED_TEXTS)
            for vector in self._encode_sorted(texts[start : start + SORTED_TEXTS])
        ]

    def _encode_sorted(self, texts: Sequence[str]) -> list[list[float]]:
        encodings = self.tokenizer.encode_batch(list(texts))
        # Texts of similar length share a batch, because all of its rows are padded to the longest.
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        vectors: dict[int, list[float]] = {}
        while order:
            size = self._batch_size([len(encodings[index].ids) for index in order[: self.max_batch]])
            batch, order = order[:size], order[size:]
            rows = self._encode_batch([encodings[index] for index in batch])
            vectors.update(zip(batch, rows.tolist(), strict=True))
            if len(texts) > 1:
                # Not after a question: it needs little memory, and a reader waits for it.
                release_free_memory()
        return [vectors[index] for index in range(len(texts))]

    def _batch_size(self, lengths: Sequence[int]) -> int:
        """How many of the next texts, whose `lengths` ascend, share a batch."""
        return max(count for count, length in enumerate(lengths, 1) if count == 1 or count * length <= MAX_BATCH_TOKENS)

    def _encode_batch(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """The vectors of a batch, `(texts, dimensions)`, from those of its tokens, `(texts, tokens, dimensions)`."""
        length = max(len(encoding.ids) for encoding in encodings)
        for encoding in encodings:
            encoding.pad(length, pad_id=self.pad_id)
        token_vectors = self.graph.run(encodings, self.output)
        if self.pooling == "cls":
            return np.asarray(token_vectors[:, 0])
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.float32)[:, :, None]
        return np.asarray((token_vectors * mask).sum(axis=1) / mask.sum(axis=1))

    def _find_output(self) -> str:
        names: list[str] = [name for name, dimensions in self.graph.outputs.items() if dimensions == 3]
        if not names:
            raise ModelUnavailableError("it returns no vectors of tokens")
        return next((name for name in TOKEN_OUTPUTS if name in names), names[0])

    def _is_independent_of_batch(self) -> bool:
        """Whether a text has the same vector alone and beside others.

        Models whose activations are quantized at run time take the scale from the whole batch. The vector of a memory
        would then depend on memories that its reader may not see, so such a model gets one text at a time.
        """
        encode = self.tokenizer.encode
        alone = self._encode_batch([encode(_PROBE_TEXTS[0])])
        beside_other = self._encode_batch([encode(text) for text in _PROBE_TEXTS])
        scale = float(np.abs(alone).max()) or 1.0
        return bool(np.abs(alone[0] - beside_other[0]).max() <= BATCH_TOLERANCE * scale)

    @property
    def pad_id(self) -> int:
        return next((id_ for token in ("[PAD]", "<pad>") if (id_ := self.tokenizer.token_to_id(token)) is not None), 0)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, or of a vocabulary of BERT, one token a line. It does not pad."""
    if path.suffix == ".json":
        tokenizer = Tokenizer.from_file(str(path))
        # A text that holds "[SEP]" is a text with these characters, not two texts.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        return tokenizer
    tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN_WORD, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    return tokenizer
