"""Loading of a model at its first use, once for all threads of a process."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from memoryhub.language.errors import ModelUnavailableError

ModelT = TypeVar("ModelT")


class LazyModel(Generic[ModelT]):
    """A model that `load` loads at the first use. A failure is remembered: loading is not tried again."""

    def __init__(self, load: Callable[[], ModelT]) -> None:
        self._load = load
        self._lock = Lock()
        self._model: ModelT | None = None
        self._load_error = ""

    def get(self) -> ModelT:
        """The loaded model. Raises ModelUnavailableError."""
        with self._lock:
            if self._model is None and not self._load_error:
                try:
                    self._model = self._load()
                except Exception as error:
                    # No text has been read yet, so the message can only be about the files.
                    self._load_error = f"it cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}"
            if self._model is None:
                raise ModelUnavailableError(self._load_error)
            return self._model
