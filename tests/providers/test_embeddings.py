"""Embeddings and moderations: nothing but input is paid for, and nothing can be capped."""

import base64
import json

import pytest

from penstock.core.errors import InvalidRequest
from penstock.core.limits import Policy
from penstock.core.meter import BodyMeter, Metered
from penstock.core.prices import Priced
from penstock.core.pricing import Price, Rate
from penstock.core.provider import Asked, Changes
from penstock.core.usage import Unit, Usage
from penstock.core.worst_case import BoundAsk, worst_case
from penstock.providers.openai import COMPATIBLE, OPENAI
from penstock.providers.request_fields import IMAGE_TOKENS_MAX

EMBEDDINGS = next(e for e in COMPATIBLE.endpoints if e.name == "embeddings")
MODERATIONS = next(e for e in COMPATIBLE.endpoints if e.name == "moderations")


def body(value: object) -> Metered:
    meter = BodyMeter(COMPATIBLE)
    meter.feed(json.dumps(value).encode())
    return meter.finish(is_complete=True)


def vectors(usage: object, embedding: object = (0.1, 0.2)) -> dict[str, object]:
    return {"object": "list", "model": "e-1", "data": [{"embedding": embedding}], "usage": usage}


@pytest.mark.parametrize("given", ["Hello", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_a_request_has_no_output_and_hides_nothing(given: object) -> None:
    sent = json.dumps({"model": "e", "input": given, "encoding_format": "base64"}).encode()
    assert COMPATIBLE.read_request(EMBEDDINGS, sent, None) == Asked(model="e", output_tokens=0, wants_usage=True)


def test_a_model_must_be_named() -> None:
    with pytest.raises(InvalidRequest, match="model"):
        COMPATIBLE.read_request(EMBEDDINGS, b'{"input": "x"}', None)
    assert COMPATIBLE.read_request(EMBEDDINGS, b'{"input": "x"}', "deployed").model == "deployed"


def test_an_image_counts_at_its_most_and_a_remote_one_is_hidden() -> None:
    inline = b'{"model": "e", "input": [{"image_url": "data:image/png;base64,AA"}]}'
    assert COMPATIBLE.read_request(EMBEDDINGS, inline, None).media_tokens == IMAGE_TOKENS_MAX
    remote = inline.replace(b"data:image/png;base64,AA", b"https://a.example/x.png")
    assert COMPATIBLE.read_request(EMBEDDINGS, remote, None).has_hidden_input


def test_the_worst_case_is_the_input_alone_also_of_a_model_of_unknown_size() -> None:
    priced = Priced("e", Price({Unit.INPUT: Rate(20_000)}), "book")
    sent = b'{"model": "e", "input": "x"}'
    asked = COMPATIBLE.read_request(EMBEDDINGS, sent, None)
    worst = worst_case(BoundAsk(EMBEDDINGS, asked, len(sent), 1024), priced, Policy("p"))
    assert (worst.input_tokens, worst.output_tokens, worst.cap_min) == (len(sent) + 1024, 0, None)
    assert worst.amounts(worst.output_tokens).usd == (len(sent) + 1024) * 20


@pytest.mark.parametrize("embedding", [[0.1, 0.2], base64.b64encode(b"\0\1\2\3").decode()], ids=["float", "base64"])
def test_an_answer_states_its_input(embedding: object) -> None:
    reading = body(vectors({"prompt_tokens": 8, "total_tokens": 8}, embedding)).reading
    assert reading is not None
    assert (reading.usage, reading.has_input, reading.has_output, reading.flags) == (Usage(input=8), True, True, ())


@pytest.mark.parametrize(
    "usage",
    [{"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}, {"total_tokens": 3}],
    ids=["all", "total"],
)
def test_hosts_state_it_in_other_ways(usage: object) -> None:
    reading = body(vectors(usage)).reading
    assert reading is not None
    assert (reading.usage, reading.has_input, reading.has_output) == (Usage(input=3), True, True)


def test_a_large_answer_is_metered_too() -> None:
    reading = body(vectors({"prompt_tokens": 8, "total_tokens": 8}, "A" * 5_000_000)).reading
    assert reading is not None
    assert reading.usage == Usage(input=8)


def test_a_moderation_without_a_model_is_of_the_newest() -> None:
    assert OPENAI.read_request(MODERATIONS, b'{"input": "x"}', None).model == "omni-moderation-latest"
    assert OPENAI.read_request(MODERATIONS, b'{"model": "mine", "input": "x"}', None).model == "mine"
    assert OPENAI.read_request(MODERATIONS, b'{"input": "x"}', None).output_tokens == 0


def test_the_body_goes_up_as_it_came_but_for_another_name() -> None:
    sent = b'{"model": "lab/e", "input": [1, 2]}'
    asked = COMPATIBLE.read_request(EMBEDDINGS, sent, None)
    assert COMPATIBLE.prepare(EMBEDDINGS, sent, asked, Changes()) is sent
    renamed = COMPATIBLE.prepare(EMBEDDINGS, sent, asked, Changes(model="e", output_cap=5))
    assert json.loads(renamed) == {"model": "e", "input": [1, 2]}
