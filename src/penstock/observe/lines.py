"""What may stand in a log line: one line of JSON, short texts, no secret.

Secrets are taken out by what they look like and, where we know them, by what they are. An exception shows its class and
where it was raised, never its message: parsers quote what they were given (reliability.md 4.15).
"""

import re
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePath

HIDDEN = "***"
TEXT_LENGTH_MAX = 300
_FRAMES_MAX = 8
_KNOWN_LENGTH_MIN = 6
_LOOKS_SECRET = (
    r"\b(?:sk|gsk|pplx|xai|rk|pk)-[\w-]{8,}",  # provider keys and ours
    r"\b(?:gsk|hf|r8)_\w{8,}",
    r"\bAIza[\w-]{20,}",  # Google
    r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?",  # a signed token
    r"\b(?:[Bb]earer|[Bb]asic)\s+[^\s\"',;]+",
    r"(?<=://)[^/\s@]+(?=@)",  # user and password of a URL
    r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",  # an e-mail address
    r"(?<=[?&])[\w.-]+=[^&\s\"']*",  # whatever a query carries
)
# Without one of these there is no match above. Most texts have none, and this search is eight times as fast.
_HINTS = (
    "sk-", "plx-", "xai-", "rk-", "pk-", "sk_", "hf_", "r8_", "AIza", "eyJ", "earer", "asic", "@", "?", "&",
)  # fmt: skip


class Redactor:
    """Cleans what goes into a log line. ``secrets`` are texts that must not appear whatever they look like."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _KNOWN_LENGTH_MIN}, key=len, reverse=True)
        self._hints = re.compile("|".join(map(re.escape, [*known, *_HINTS])))
        self._pattern = re.compile("|".join([*map(re.escape, known), *_LOOKS_SECRET]))

    def text(self, text: str) -> str:
        """The text without secrets, cut to TEXT_LENGTH_MAX characters."""
        # Cut before and after: what the first cut splits lies beyond the second, and no text takes long to search.
        clean = text[: 2 * TEXT_LENGTH_MAX]
        if not clean.isascii():
            clean = clean.encode("utf-8", "replace").decode()  # A lone surrogate cannot be written.
        if self._hints.search(clean):
            clean = self._pattern.sub(HIDDEN, clean)
        return clean if len(clean) <= TEXT_LENGTH_MAX else clean[:TEXT_LENGTH_MAX] + "..."

    def value(self, value: object) -> object:
        """A JSON value: numbers as they are, texts cleaned, of anything else only what kind of thing it is."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return type(value).__name__


def describe_exception(error: BaseException) -> dict[str, object]:
    """Its class, those of its causes, and where it was raised (innermost last); no message, no locals."""
    classes: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(classes) < _FRAMES_MAX:
        classes.append(type(cause).__name__)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    where = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"exception": classes, "where": where}


def log_time(at_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 with milliseconds: ``2026-11-21T00:00:00.000Z``."""
    seconds, thousandths = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{thousandths:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
