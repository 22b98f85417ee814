"""Django system check of the language model."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from memoryhub.config import Config
from memoryhub.language import nli


def check_nli_model(**_: Any) -> list[CheckMessage]:
    """Whether MEMORYHUB_NLI_MODEL names a model, judged by its files; `doctor` also calls the model."""
    config: Config = settings.APP_CONFIG
    problem = config.nli_model and nli.find_config_error(config.nli_model)
    return [Error(problem, id="conflicts.E001")] if problem else []
