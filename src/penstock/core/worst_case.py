"""The most that a call can come to, decided before a byte of it goes up (money.md, "The worst case of a call").

A call is bounded or refused: what we cannot see counts as the whole context window, what we cannot cap as the model's
maximum, and where neither is known the answer is Unbounded. Every token counts at the dearest rate that it can cost.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from penstock.core.errors import ModelUnpriced, Unbounded
from penstock.core.limits import CAP_MIN, CAP_MIN_REASONING, Policy, WorstCase
from penstock.core.prices import Priced
from penstock.core.provider import Asked, Endpoint
from penstock.core.usage import COUNT_MAX, Unit

FREE_CALL = WorstCase(fixed_pico=0, output_pico=0, input_tokens=0, output_tokens=0)
"""Listings and token counting: 0 usd and one request, whatever the model costs."""

# Families that think before they answer, by the start of a model's id behind its last slash; and words that say so
# anywhere in it. Too many is harmless: their smallest cap is 1,024 tokens instead of 256, so a nearly empty budget
# refuses them a little earlier. Too few gives answers that end in the middle of a thought.
_REASONING_FAMILIES = (
    r"o\d",  # OpenAI o1, o3, o4-mini
    r"gpt-(?:[5-9]|oss)(?!.*chat)",
    r"claude-(?:(?:opus|sonnet|haiku|fable|mythos)-[4-9]|3[-.]7)",
    r"gemini-(?:2\.5|[3-9])",
    r"grok-(?:3-mini|[4-9])",
    r"deepseek-(?:r\d|v[4-9])",
    r"magistral",
    r"qwq|qwen-?[3-9]",
    r"glm-(?:4\.[5-9]|[5-9])",
    r"kimi-k[2-9]",
    r"minimax-m",
    r"nova-2",
)
_REASONING_WORDS = r"reason|think|deep-?research|deepseek-r\d"
_REASONING = re.compile(rf"(?:^|/)(?:{'|'.join(_REASONING_FAMILIES)})[^/]*$|{_REASONING_WORDS}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BoundAsk:
    """What of a call bears on its worst case.

    ``body_bytes`` bound the tokens that we can see; ``overhead_tokens`` are what a provider may add to them (hidden
    prompts, rendered tools, inline media). ``window_max`` is what every model of the dialect takes at most, if known.
    """

    endpoint: Endpoint
    asked: Asked
    body_bytes: int
    overhead_tokens: int
    window_max: int | None = None


def worst_case(ask: BoundAsk, priced: Priced, policy: Policy) -> WorstCase:
    """The worst case of a call at one model's price.

    Raises Unbounded where there is none, where it is beyond any count that we keep, or where the policy refuses what
    cannot be seen, and ModelUnpriced where the price says nothing about tokens.
    """
    price = priced.price
    input_tokens = _input_bound(ask, priced, policy)
    input_pico = price.dearest_pico(Unit.INPUT, input_tokens)
    output_pico = price.dearest_pico(Unit.OUTPUT, input_tokens)
    if input_pico is None or output_pico is None:
        raise ModelUnpriced(f"The price of {priced.model} says nothing about tokens.", param="model")
    if Unit.REASONING in price.rates:
        raise Unbounded(
            f"{priced.model} is billed for reasoning beside its output, which no cap bounds.", param="model"
        )
    fees_pico = price.dearest_pico(Unit.REQUESTS) or 0
    fees_pico += (price.dearest_pico(Unit.SEARCHES) or 0) * ask.asked.tool_uses
    output_tokens, cap_min = _output_bound(ask, priced, policy)
    if output_tokens * ask.asked.choices > COUNT_MAX:
        raise Unbounded(f"All answers together may come to more than {COUNT_MAX} tokens: ask for fewer, or cap them.")
    return WorstCase(
        fixed_pico=input_tokens * input_pico + fees_pico,
        output_pico=output_pico,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        choices=ask.asked.choices,
        cap_min=cap_min,
    )


def dearest_of(bounds: Sequence[WorstCase]) -> WorstCase:
    """One worst case that covers each of several models that may answer: of every part the largest."""
    floors = [bound.cap_min for bound in bounds if bound.cap_min is not None]
    return WorstCase(
        fixed_pico=max(bound.fixed_pico for bound in bounds),
        output_pico=max(bound.output_pico for bound in bounds),
        input_tokens=max(bound.input_tokens for bound in bounds),
        output_tokens=max(bound.output_tokens for bound in bounds),
        choices=max(bound.choices for bound in bounds),
        cap_min=max(floors) if len(floors) == len(bounds) else None,
    )


def is_reasoning_model(priced: Priced) -> bool:
    """Whether a model thinks before it answers: as the settings say, else by its name."""
    stated = priced.limits.is_reasoning
    return _thinks(priced.model) if stated is None else stated


@lru_cache(maxsize=1024)
def _thinks(model: str) -> bool:
    return _REASONING.search(model) is not None


def _input_bound(ask: BoundAsk, priced: Priced, policy: Policy) -> int:
    """The most input tokens: no tokenizer makes more of them than there are bytes, no model takes more than fit."""
    context = ask.window_max if priced.context is None else priced.context
    if not ask.asked.has_hidden_input:
        visible = ask.body_bytes + ask.overhead_tokens
        return visible if context is None else min(visible, context)
    if policy.unbounded == "refuse":
        raise Unbounded(
            "Your policy refuses input that the gateway cannot see (stored, remote, or from server-run tools)."
        )
    if context is None:
        raise Unbounded(
            f"This body refers to input that the gateway cannot see, and the context window of {priced.model} is not "
            "known; an admin can state it in the settings."
        )
    return context


def _output_bound(ask: BoundAsk, priced: Priced, policy: Policy) -> tuple[int, int | None]:
    """The most output tokens of one choice, and the least to which the limits may lower it (None: not at all)."""
    asked, maximum = ask.asked.output_tokens, priced.output_max
    can_cap = ask.endpoint.cap_field is not None
    if asked is not None and not (can_cap and policy.lower_caps):
        return (asked if maximum is None else min(asked, maximum)), None
    if not can_cap:
        if maximum is None:
            raise Unbounded(
                f"Nothing bounds the output of this call: state max_tokens, or have an admin state the output_max of "
                f"{priced.model}.",
                param="max_tokens",
            )
        return maximum, None
    floor = CAP_MIN_REASONING if is_reasoning_model(priced) else CAP_MIN
    ceilings = [bound for bound in (asked, maximum) if bound is not None]
    most = min([max(policy.output_cap, floor), *ceilings])
    return most, min(floor, most)
