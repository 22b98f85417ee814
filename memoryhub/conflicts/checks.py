"""What must hold before the server starts."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from memoryhub.config import Config
from memoryhub.conflicts import entailment


def the_model_can_be_used(**_: Any) -> list[CheckMessage]:
    """Whether MEMORYHUB_NLI_MODEL names a model, as far as its files tell; the doctor asks it."""
    config: Config = settings.MEMORYHUB
    trouble = config.nli_model and entailment.why_not(config.nli_model)
    return [Error(trouble, id="conflicts.E001")] if trouble else []
