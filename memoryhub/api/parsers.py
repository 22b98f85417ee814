"""A strict JSON parser: the bytes of a body decide whether two writes are the same."""

from typing import IO, Any

from rest_framework.parsers import BaseParser

from memoryhub.api.problems import ProblemError
from memoryhub.core.strict_json import InvalidJsonError, decode_json


class StrictJSONParser(BaseParser):
    """Accept only UTF-8 without a byte order mark, without duplicate keys and NaN, and of limited depth."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        charset = _parse_charset(media_type or "")
        if charset not in ("", "utf-8", "utf8"):
            raise ProblemError(415, "unsupported_media_type", "Send JSON in UTF-8.")
        try:
            return decode_json(stream.read())
        except InvalidJsonError as error:
            raise ProblemError(413 if error.code == "too_large" else 400, error.code, f"The body {error}") from None


def _parse_charset(media_type: str) -> str:
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""
