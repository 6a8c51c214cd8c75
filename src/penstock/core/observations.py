"""What metered calls have taught us of a model: how far its input exceeds the body, how few bytes its output may have.

Both only ever move to the safe side: an excess raises the bound of the next call at once, and the ratio is the lowest
ever seen, used only once enough calls have been (money.md, "The worst case of a call"; reliability.md 3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.core.call import Basis, Ending

OVERHEAD_TOKENS = 1024
OVERHEAD_RICH_TOKENS = 4096
CALLS_MIN = 20


class Lesson(StrEnum):
    """What an observation is about: input beyond the body, or output bytes per token."""

    OVERHEAD = "overhead"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Topic:
    """``trait`` is what the lesson depends on beside the model: the request's traits, or ``stream`` or ``json``."""

    provider: str
    model: str
    lesson: Lesson
    trait: str


@dataclass(frozen=True, slots=True)
class Observation:
    """OVERHEAD: the largest excess in ``tokens``. OUTPUT: the answer with the fewest ``bytes`` per token."""

    calls: int
    tokens: int
    bytes: int = 0


Seen = Mapping[Topic, Observation]


class Observations:
    """The lessons in force, read on the event loop while the ledger's writer replaces single ones."""

    def __init__(self) -> None:
        self._seen: dict[Topic, Observation] = {}

    @property
    def seen(self) -> Seen:
        return self._seen

    def publish(self, seen: Seen) -> None:
        self._seen.update(seen)

    def overhead(self, provider: str, model: str, traits: str) -> int:
        """How many input tokens may come on top of the body's bytes."""
        start = OVERHEAD_RICH_TOKENS if traits else OVERHEAD_TOKENS
        observed = self._seen.get(Topic(provider, model, Lesson.OVERHEAD, traits))
        return start if observed is None else max(start, observed.tokens)

    def output_ratio(self, provider: str, model: str, *, is_stream: bool) -> tuple[int, int] | None:
        """The lowest (bytes, tokens) of an answer; None: too few calls, one byte may be one token."""
        observed = self._seen.get(Topic(provider, model, Lesson.OUTPUT, _shape(is_stream=is_stream)))
        if observed is None or observed.calls < CALLS_MIN:
            return None
        return observed.bytes, observed.tokens


def learn(seen: Seen, ended: Iterable[tuple[str, str, Ending]]) -> dict[Topic, Observation]:
    """What these endings (provider, model, ending) add to what is known: by topic, without what would change nothing.

    Only the additions, so that what another process has learned meanwhile can be merged with ``combine``.
    """
    news: dict[Topic, Observation] = {}
    for provider, model, ending in ended:
        for topic, observation in _lessons(provider, model, ending):
            known = seen.get(topic)
            if known is not None and not _is_news(topic, known, observation):
                continue
            earlier = news.get(topic)
            news[topic] = observation if earlier is None else combine(topic, earlier, observation)
    return news


def combine(topic: Topic, one: Observation, other: Observation) -> Observation:
    """Two observations as one, whichever was made first."""
    calls = one.calls + other.calls
    if topic.lesson is Lesson.OVERHEAD:
        return Observation(calls, max(one.tokens, other.tokens))
    lower = other if _is_lower(other, one) else one
    return Observation(calls, lower.tokens, lower.bytes)


def _lessons(provider: str, model: str, ending: Ending) -> Iterable[tuple[Topic, Observation]]:
    excess = ending.usage.tokens_in - ending.input_bytes
    if ending.input_bytes and excess > 0:
        yield Topic(provider, model, Lesson.OVERHEAD, ending.traits), Observation(1, excess)
    is_metered = ending.basis in (Basis.REPORTED_COST, Basis.PROVIDER)
    if is_metered and ending.usage.tokens_out and ending.bytes_out:
        topic = Topic(provider, model, Lesson.OUTPUT, _shape(is_stream=ending.is_stream))
        yield topic, Observation(1, ending.usage.tokens_out, ending.bytes_out)


def _is_news(topic: Topic, known: Observation, observation: Observation) -> bool:
    """Calls are counted until there are enough; from then on only a worse one than all before is worth a write."""
    if topic.lesson is Lesson.OVERHEAD:
        return observation.tokens > known.tokens
    return known.calls < CALLS_MIN or _is_lower(observation, known)


def _is_lower(one: Observation, other: Observation) -> bool:
    return one.bytes * other.tokens < other.bytes * one.tokens


def _shape(*, is_stream: bool) -> str:
    return "stream" if is_stream else "json"
