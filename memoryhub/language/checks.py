"""Django system checks of the language models, judged by their files; `doctor` also calls the models."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from memoryhub.config import Config
from memoryhub.language import embedder, nli


def check_nli_model(**_: Any) -> list[CheckMessage]:
    """Whether MEMORYHUB_NLI_MODEL names a model."""
    config: Config = settings.APP_CONFIG
    problem = config.nli_model and nli.find_config_error(config.nli_model)
    return [checks.Error(problem, id="conflicts.E001")] if problem else []


def check_embedder(**_: Any) -> list[CheckMessage]:
    """Whether the files of the chosen embedder are there. A warning: without them the hub works, by words alone."""
    problem = embedder.find_config_error(settings.APP_CONFIG)
    return [checks.Warning(problem, id="language.W001")] if problem else []
