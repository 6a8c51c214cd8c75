"""What an answer consumed, in disjoint units: no token is counted in two of them.

Providers state overlapping numbers (cached tokens inside the prompt, reasoning inside the completion). Each dialect
turns its own statement into a Usage; everything behind that only multiplies and adds (money.md, "Amounts").
"""

from enum import StrEnum

import msgspec

COUNT_MAX = 1_000_000_000


class Unit(StrEnum):
    """One billable thing. The value is the name in JSON, SQL and settings."""

    INPUT = "input"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    OUTPUT = "output"
    REASONING = "reasoning"
    AUDIO_IN = "audio_in"
    AUDIO_OUT = "audio_out"
    IMAGE_IN = "image_in"
    IMAGE_OUT = "image_out"
    REQUESTS = "requests"
    SEARCHES = "searches"
    SECONDS = "seconds"
    CHARACTERS = "characters"
    PAGES = "pages"


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts by unit, each 0 to 1e9; ``reasoning`` only where it is billed beside ``output``."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    requests: int = 0
    searches: int = 0
    seconds: int = 0
    characters: int = 0
    pages: int = 0

    @property
    def tokens_in(self) -> int:
        """Everything that the model read, cached or not."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_in + self.image_in

    @property
    def tokens_out(self) -> int:
        """Everything that the model wrote, thoughts included."""
        return self.output + self.reasoning + self.audio_out + self.image_out

    @property
    def tokens(self) -> int:
        """What a limit in tokens counts."""
        return self.tokens_in + self.tokens_out


NO_USAGE = Usage()


def count(value: object) -> int | None:
    """A provider's number as a count, or None where it states none: a bool, a fraction, a string, below 0 or above 1e9.

    Unknown is not zero: a caller must not turn the None into 0 before it has asked whether that would make a call free.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= COUNT_MAX else None
