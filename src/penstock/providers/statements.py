"""What OpenAI-style hosts state in their answers: chat completions, Responses and embeddings alike.

Usage stands in ``usage``: of an answer; in a chat stream's last chunk where ``stream_options.include_usage`` asked for
it; in ``response`` of the Responses event that ends a stream. Cached and audio tokens are inside the tokens that went
in, reasoning is inside those that came out.
"""

from collections.abc import Mapping

from penstock.core.provider import JsonObject, Reading, service_tier
from penstock.core.usage import Usage, count
from penstock.providers.request_fields import SEARCHES_MAX

_RESPONSES_NAMES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")
_SEARCH_TOOLS = ("web_search", "file_search")
_SEARCH_ITEMS = ("web_search_call", "file_search_call")
# Under this name the searches among an answer's items stand beside its counts.
_SEARCHES = "penstock_searches"


def find_usage(value: JsonObject) -> JsonObject | None:
    """The statement of an answer, chunk or event, with the service tier and the searches that stand beside it.

    Groq's streams have theirs in ``x_groq`` as well.
    """
    inner = value.get("response")
    answer = inner if isinstance(inner, Mapping) else value
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        usage = _object(value, "x_groq").get("usage")
    if not isinstance(usage, Mapping):
        return None
    beside: dict[str, object] = {}
    if isinstance(tier := answer.get("service_tier"), str):
        beside["service_tier"] = tier
    if searches := _searches(answer):
        beside[_SEARCHES] = searches
    if answer.get("object") == "list" and "prompt_tokens" not in usage and "total_tokens" in usage:
        beside["prompt_tokens"] = usage["total_tokens"]  # Voyage's embeddings state nothing but a total.
    return {**beside, **usage} if beside else usage


def is_final(value: JsonObject) -> bool:
    """A chunk without choices, or one that says why the output ended; a last event of Responses."""
    kind, choices = value.get("type"), value.get("choices")
    if isinstance(kind, str) and kind.startswith("response."):
        return kind in _LAST_EVENTS
    if not isinstance(choices, list) or not choices:
        return True
    return any(isinstance(choice, Mapping) and choice.get("finish_reason") for choice in choices)


def read_usage(usage: JsonObject) -> Reading:
    """Make OpenAI's overlapping counts disjoint.

    Where the total says more than the parts, the rest is sound (Mistral) or thoughts (xAI) if that is how much there is
    of either, else output. Sound that was cached stands in both counts and is charged as sound; what was both read from
    a cache and written to one (Gemini behind OpenRouter) is charged for both.
    """
    usage = {_RESPONSES_NAMES.get(name, name): value for name, value in usage.items()}
    inside, outside = _object(usage, "prompt_tokens_details"), _object(usage, "completion_tokens_details")
    stated = [count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total")]
    prompt, completion, total = (number or 0 for number in stated)
    rest = total - prompt - completion if None not in stated else 0
    sound, thoughts = _count(inside, "audio_tokens"), _count(outside, "reasoning_tokens")
    is_sound, is_thoughts = 0 < rest == sound, 0 < rest == thoughts != sound
    is_other = rest > 0 and not is_sound and not is_thoughts
    cached = _count(inside, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens")
    uncached, audio_in, cached = _parts_of(prompt, 0 if is_sound else sound, cached)
    fresh, written = _parts_of(uncached, _count(inside, "cache_write_tokens"))
    text, audio_out = _parts_of(completion, _count(outside, "audio_tokens"))
    is_beside = max(audio_in, cached) > prompt or written > uncached or audio_out > completion
    return Reading(
        usage=Usage(
            input=fresh,
            cache_read=cached,
            cache_write=written,
            audio_in=rest if is_sound else audio_in,
            output=text + (rest if is_other else 0),
            reasoning=rest if is_thoughts else 0,
            audio_out=audio_out,
            searches=_count(usage, _SEARCHES) or _count(usage, "num_search_queries"),
        ),
        has_input=stated[0] is not None,
        has_output=stated[1] is not None or _is_all_input(usage),
        properties=service_tier(usage),
        flags=("usage_mismatch",) if is_other or rest < 0 or is_beside else (),
    )


def _parts_of(whole: int, *parts: int) -> tuple[int, ...]:
    """What is left of a whole, and its parts; one that is larger than the whole stands beside it."""
    left, taken = whole, []
    for part in parts:
        within = min(part, left) if part <= whole else 0
        left -= within
        taken.append(within if part <= whole else part)
    return left, *taken


def _count(value: JsonObject, name: str) -> int:
    """A part's count; without one the tokens count in its whole, which is never cheaper."""
    return count(value.get(name)) or 0


def _is_all_input(usage: JsonObject) -> bool:
    # Embeddings and the like state no completion: a total that equals the prompt says that there is none.
    total = count(usage.get("total_tokens"))
    return usage.get("completion_tokens") is None and total is not None and total == usage.get("prompt_tokens")


def _searches(answer: JsonObject) -> int:
    """How often the provider searched for a Responses answer; opening a page that was found costs nothing.

    The items of a very long answer are not decoded: if it could search, it is taken to have done so at its most.
    """
    items, tools = answer.get("output"), answer.get("tools")
    if isinstance(items, list):
        return sum(map(_is_search, items))
    is_unread = answer.get("object") == "response" and "output" not in answer
    could_search = isinstance(tools, list) and any(map(_is_search_tool, tools))
    return SEARCHES_MAX if is_unread and could_search else 0


def _is_search(item: object) -> bool:
    if not isinstance(item, Mapping) or item.get("type") not in _SEARCH_ITEMS:
        return False
    return _object(item, "action").get("type", "search") == "search"


def _is_search_tool(tool: object) -> bool:
    return isinstance(tool, Mapping) and str(tool.get("type")).startswith(_SEARCH_TOOLS)


def find_model(value: JsonObject) -> str | None:
    """The model that answered; Azure's first chunk has an empty one."""
    model = _object(value, "response").get("model") or value.get("model")
    return model if isinstance(model, str) and model else None


def is_error_event(value: JsonObject) -> bool:
    """Groq and OpenRouter report a failure inside a 200 stream as a chunk with ``error``, Responses as an event."""
    return bool(value.get("error")) or value.get("type") in ("error", "response.failed")


def _object(value: JsonObject, name: str) -> JsonObject:
    inner = value.get(name)
    return inner if isinstance(inner, Mapping) else {}
