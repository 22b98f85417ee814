"""JSON as strictly as it must be read when its bytes decide whether two writes are the same."""

from typing import IO, Any

from rest_framework.parsers import BaseParser

from memoryhub.api.problems import Problem
from memoryhub.memories.strict_json import BadJson, decode


class StrictJSONParser(BaseParser):
    """UTF-8 without a byte order mark, no duplicate keys, no NaN, a limited depth."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        charset = _charset(media_type or "")
        if charset not in ("", "utf-8", "utf8"):
            raise Problem(415, "unsupported_media_type", "Send JSON in UTF-8.")
        try:
            return decode(stream.read())
        except BadJson as error:
            raise Problem(413 if error.code == "too_large" else 400, error.code, f"The body {error}") from None


def _charset(media_type: str) -> str:
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""
