import json
from collections.abc import Mapping

import pytest

from penstock.core.errors import InvalidJson, InvalidRequest
from penstock.core.provider import NO_CHANGES, Asked, Changes, Reading
from penstock.core.usage import COUNT_MAX, Usage
from penstock.providers.gemini import GEMINI, IMAGE_TOKENS_MAX, SEARCHES_MAX, WINDOW_TOKENS_MAX

ENDPOINTS = {endpoint.name: endpoint for endpoint in GEMINI.endpoints}
MODEL = "gemini-2.5-flash"


def ask(body: Mapping[str, object] | bytes, endpoint: str = "generateContent", model: str = MODEL) -> Asked:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GEMINI.read_request(ENDPOINTS[endpoint], raw, model)


def asked(**more: object) -> Asked:
    return Asked(**{"model": MODEL, "wants_usage": True, **more})  # type: ignore[arg-type] # a row


def parts(*parts: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def inline(media_type: str) -> dict[str, object]:
    return {"inlineData": {"mimeType": media_type, "data": "iVBORw0KGgo="}}


PNG = inline("image/png")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (parts({"text": "hi"}), asked()),
        ({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "safetySettings": []}, asked()),
        ({"generationConfig": {"maxOutputTokens": 7}}, asked(output_tokens=7)),
        ({"generation_config": {"max_output_tokens": 7}}, asked(output_tokens=7)),
        ({"generationConfig": {"max_output_tokens": 7}}, asked(output_tokens=7)),
        ({"generationConfig": {"maxOutputTokens": 7}, "generation_config": None}, asked(output_tokens=7)),
        ({"generationConfig": None}, asked()),
        ({"generationConfig": {"candidateCount": 3}}, asked(choices=3)),
        ({"generation_config": {"candidate_count": 3}}, asked(choices=3)),
        ({"generationConfig": {"responseMimeType": "application/json"}}, asked(is_structured=True)),
        ({"generationConfig": {"response_mime_type": "text/plain"}}, asked()),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, asked(is_structured=True)),
        ({"generationConfig": {"response_json_schema": {}}}, asked(is_structured=True)),
        ({"tools": [{"functionDeclarations": [{"name": "f"}]}]}, asked(has_tools=True)),
        ({"tools": [{"function_declarations": []}, {"computerUse": {}}]}, asked(has_tools=True)),
        ({"tools": []}, asked()),
        ({"serviceTier": "standard"}, asked()),
        ({"service_tier": "FLEX"}, asked()),
        ({"model": MODEL}, asked()),
        ({"model": f"models/{MODEL}"}, asked()),
    ],
)
def test_what_a_generation_asks_for(body: dict[str, object], expected: Asked) -> None:
    assert ask(body) == expected


def test_the_path_says_whether_the_answer_streams() -> None:
    assert ask({}, "streamGenerateContent") == asked(is_stream=True)


@pytest.mark.parametrize(
    "tool",
    [
        "googleSearch",
        "google_search",
        "googleSearchRetrieval",
        "urlContext",
        "url_context",
        "codeExecution",
        "fileSearch",
        "googleMaps",
        "enterpriseWebSearch",
        "retrieval",
        "something_new",
    ],
)
def test_a_tool_that_google_runs_is_hidden_input_with_a_fee(tool: str) -> None:
    expected = asked(has_tools=True, has_hidden_input=True, tool_uses=SEARCHES_MAX)
    assert ask({"tools": [{"functionDeclarations": []}, {tool: {}}]}) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"cachedContent": "cachedContents/7"},
        {"cached_content": "cachedContents/7"},
        parts({"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}}),
        parts({"file_data": {"file_uri": "gs://bucket/file"}}),
        parts({"functionResponse": {"parts": [{"fileData": {"fileUri": "https://example.com/a.pdf"}}]}}),
        b'{"contents":[{"parts":[{"file\\u0044ata":{"fileUri":"gs://bucket/file"}}]}]}',
    ],
)
def test_what_does_not_stand_in_the_body_is_hidden_input(body: dict[str, object] | bytes) -> None:
    assert ask(body).has_hidden_input


def test_a_text_that_only_speaks_of_files_hides_nothing() -> None:
    assert ask(parts({"text": '{"fileData": {"fileUri": "x"}, "inlineData": {}}'})) == asked()


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (parts(PNG), IMAGE_TOKENS_MAX),
        (parts(PNG, {"text": "and"}, PNG), 2 * IMAGE_TOKENS_MAX),
        (parts({"inline_data": {"mime_type": "image/webp", "data": ""}}), IMAGE_TOKENS_MAX),
        (parts(inline("text/csv")), 0),
        (parts(inline("audio/mp3")), WINDOW_TOKENS_MAX),
        (parts(inline("video/mp4")), WINDOW_TOKENS_MAX),
        (parts(inline("application/pdf")), WINDOW_TOKENS_MAX),
        (parts(PNG, inline("audio/wav")), WINDOW_TOKENS_MAX),
        (parts({"inlineData": {"data": "iVBORw0KGgo="}}), WINDOW_TOKENS_MAX),
        (parts(inline("IMAGE/PNG")), WINDOW_TOKENS_MAX),
    ],
)
def test_inline_media_are_bounded_by_what_google_documents(body: dict[str, object], tokens: int) -> None:
    assert ask(body).media_tokens == tokens


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": -1}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": COUNT_MAX + 1}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": True}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": "7"}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"candidateCount": 0}}, "generationConfig.candidateCount"),
        ({"generationConfig": {"maxOutputTokens": 7, "max_output_tokens": 9}}, "maxOutputTokens"),
        ({"generationConfig": {"candidateCount": 7, "candidate_count": 9}}, "candidateCount"),
        ({"generationConfig": {"maxOutputTokens": 7}, "generation_config": {}}, "generationConfig"),
        ({"cachedContent": "a", "cached_content": "b"}, "cachedContent"),
        ({"serviceTier": "standard", "service_tier": "flex"}, "serviceTier"),
        ({"serviceTier": "priority"}, "serviceTier"),
        ({"generationConfig": {"routingConfig": {"manualMode": {"modelName": "x"}}}}, "generationConfig.routingConfig"),
        ({"model": "models/gemini-2.5-pro"}, "model"),
        ({"tools": {"googleSearch": {}}}, "tools"),
    ],
)
def test_what_has_no_clear_bound_is_refused(body: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(body)
    assert caught.value.param == param


@pytest.mark.parametrize("model", ["", "a/b", "../x", "a:generateContent", "a?b", "a b", "m" * 129])
def test_a_model_is_one_plain_name(model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask({}, model=model)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b'{"generationConfig":{},"generationConfig":{"maxOutputTokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":7,"maxOutputTokens":9}}',
        b'{"cachedContent":null,"cached\\u0043ontent":"x"}',
        b'{"contents":[]',
    ],
)
def test_a_field_that_we_decide_on_stands_there_once(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        ask(body)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("embedContent", {"content": {"parts": [{"text": "hi"}]}}),
        ("embedContent", {"model": f"models/{MODEL}", "content": {}}),
        ("batchEmbedContents", {"requests": [{"model": f"models/{MODEL}"}, {"model": MODEL}, {}]}),
    ],
)
def test_an_embedding_has_no_output(endpoint: str, body: dict[str, object]) -> None:
    assert ask(body, endpoint) == asked(output_tokens=0)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("embedContent", {"model": "models/other"}),
        ("batchEmbedContents", {"requests": [{"model": f"models/{MODEL}"}, {"model": "models/other"}]}),
    ],
)
def test_an_embedding_names_the_model_of_its_path(endpoint: str, body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        ask(body, endpoint)


def test_an_embedded_image_counts_too() -> None:
    assert ask({"content": {"parts": [PNG]}}, "embedContent").media_tokens == IMAGE_TOKENS_MAX


def test_counting_tokens_is_not_bounded() -> None:
    assert ask({"generateContentRequest": {"contents": []}}, "countTokens") == asked()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"contents":[]}', b'{"generationConfig":{"maxOutputTokens":9},"contents":[]}'),
        (b"{}", b'{"generationConfig":{"maxOutputTokens":9}}'),
        (b'{"generationConfig":null}', b'{"generationConfig":{"maxOutputTokens":9}}'),
        (b'{"generationConfig":{"topK": 1.0}}', b'{"generationConfig":{"maxOutputTokens":9,"topK": 1.0}}'),
        (b'{"generation_config":{"topK":1}}', b'{"generation_config":{"maxOutputTokens":9,"topK":1}}'),
        (b'{"generationConfig":{"maxOutputTokens":99}}', b'{"generationConfig":{"maxOutputTokens":9}}'),
        (b'{"generation_config":{"max_output_tokens":99}}', b'{"generation_config":{"max_output_tokens":9}}'),
    ],
)
def test_a_cap_is_written_into_the_config_that_is_there(body: bytes, sent: bytes) -> None:
    assert GEMINI.prepare(ENDPOINTS["generateContent"], body, ask(body), Changes(output_cap=9)) == sent


def test_a_body_that_needs_no_cap_stays_as_it_came() -> None:
    body = b'{ "contents" : [] , "generationConfig" : { } }'
    assert GEMINI.prepare(ENDPOINTS["generateContent"], body, ask(body), NO_CHANGES) is body


def details(**tokens: int) -> list[dict[str, object]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in tokens.items()]


def stated(prompt: int | None = None, **more: object) -> dict[str, object]:
    return {**({} if prompt is None else {"promptTokenCount": prompt}), **more}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (stated(10, candidatesTokenCount=5, totalTokenCount=15), Usage(input=10, output=5)),
        (stated(10, candidatesTokenCount=5), Usage(input=10, output=5)),
        (stated(10, candidatesTokenCount=5, thoughtsTokenCount=7, totalTokenCount=22), Usage(input=10, output=12)),
        (stated(10, thoughtsTokenCount=7, totalTokenCount=17), Usage(input=10, output=7)),
        (stated(10, totalTokenCount=10), Usage(input=10)),
        (stated(10, toolUsePromptTokenCount=30, candidatesTokenCount=5, totalTokenCount=45), Usage(input=40, output=5)),
        (
            stated(10, cachedContentTokenCount=8, candidatesTokenCount=5, totalTokenCount=15),
            Usage(input=2, cache_read=8, output=5),
        ),
        (
            stated(100, candidatesTokenCount=5, promptTokensDetails=details(TEXT=20, AUDIO=50, IMAGE=30)),
            Usage(input=20, audio_in=50, image_in=30, output=5),
        ),
        (
            stated(100, candidatesTokenCount=5, promptTokensDetails=details(TEXT=20, VIDEO=50, DOCUMENT=30)),
            Usage(input=20, image_in=80, output=5),
        ),
        (
            stated(100, candidatesTokenCount=5, promptTokensDetails=[{"modality": 4, "tokenCount": 50}]),
            Usage(input=50, audio_in=50, output=5),
        ),
        (
            stated(
                100,
                candidatesTokenCount=0,
                cachedContentTokenCount=60,
                promptTokensDetails=details(TEXT=10, IMAGE=40, AUDIO=50),
                cacheTokensDetails=details(IMAGE=30, AUDIO=30),
            ),
            Usage(input=10, cache_read=30, image_in=10, audio_in=50),
        ),
        (
            stated(10, candidatesTokenCount=1300, candidatesTokensDetails=details(TEXT=10, IMAGE=1290)),
            Usage(input=10, output=10, image_out=1290),
        ),
        (
            stated(10, candidatesTokenCount=90, thoughtsTokenCount=7, candidatesTokensDetails=details(AUDIO=90)),
            Usage(input=10, output=7, audio_out=90),
        ),
        (stated(10, candidatesTokenCount=5, searches=2), Usage(input=10, output=5, searches=2)),
    ],
)
def test_usage_becomes_disjoint_units(usage: dict[str, object], expected: Usage) -> None:
    assert GEMINI.read_usage(usage) == Reading(expected, has_input=True, has_output=True)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (stated(10, candidatesTokenCount=5, totalTokenCount=25), Usage(input=10, output=15)),
        (stated(10, candidatesTokenCount=5, totalTokenCount=12), Usage(input=10, output=5)),
        (stated(10, candidatesTokenCount=5, cachedContentTokenCount=11), Usage(cache_read=10, output=5)),
    ],
)
def test_of_counts_that_contradict_each_other_the_dearer_reading_counts(
    usage: dict[str, object], expected: Usage
) -> None:
    reading = GEMINI.read_usage(usage)
    assert (reading.usage, reading.flags) == (expected, ("usage_mismatch",))


@pytest.mark.parametrize(
    ("usage", "has_input", "has_output"),
    [
        (stated(10), True, False),
        (stated(None, candidatesTokenCount=5), False, True),
        (stated(None, trafficType="ON_DEMAND"), False, False),
        (stated(10, candidatesTokenCount=-5, totalTokenCount=10), False, False),
        (stated(10, candidatesTokenCount=True, totalTokenCount=10), False, False),
        (stated(10, candidatesTokenCount="5", totalTokenCount=15), False, False),
        (stated(10, candidatesTokenCount=5, thoughtsTokenCount=1.5), False, False),
    ],
)
def test_what_is_not_stated_is_not_zero(usage: dict[str, object], has_input: bool, has_output: bool) -> None:  # noqa: FBT001
    reading = GEMINI.read_usage(usage)
    assert (reading.has_input, reading.has_output) == (has_input, has_output)


def test_the_tier_that_was_served_is_a_property() -> None:
    assert GEMINI.read_usage(stated(10, serviceTier="FLEX")).properties == {"service_tier": "flex"}


def test_an_embedding_states_no_output() -> None:
    found = GEMINI.find_usage({"embedding": {"values": [0.1]}, "usageMetadata": stated(10)})
    assert found is not None
    assert GEMINI.read_usage(found) == Reading(Usage(input=10), has_input=True, has_output=True)
    assert GEMINI.find_usage({"embeddings": []}) is None


def grounded(*queries: str, model: str = "gemini-3.5-flash", **more: object) -> dict[str, object]:
    grounding = {"webSearchQueries": list(queries), **more}
    return {"candidates": [{"groundingMetadata": grounding}], "modelVersion": model, "usageMetadata": stated(10)}


@pytest.mark.parametrize(
    ("answer", "searches"),
    [
        (grounded(), None),
        (grounded("a"), 1),
        (grounded("a", "b"), 2),
        (grounded("a", "b", model="gemini-2.5-pro"), 1),
        (grounded(groundingChunks=[{"maps": {"uri": "x"}}]), 1),
        (grounded(groundingChunks=[{"web": {"uri": "x"}}]), None),
    ],
)
def test_searches_are_counted_as_google_bills_them(answer: dict[str, object], searches: int | None) -> None:
    found = GEMINI.find_usage(answer)
    assert found is not None
    assert found.get("searches") == searches


@pytest.mark.parametrize(
    ("value", "is_final"),
    [
        ({"candidates": [{"content": {}}]}, False),
        ({"candidates": [{"content": {}, "finishReason": "STOP"}]}, True),
        ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, True),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, True),
        ({"promptFeedback": {}}, False),
        ({}, False),
        ({"candidates": "x"}, False),
    ],
)
def test_what_says_why_the_output_ended_is_final(value: dict[str, object], is_final: bool) -> None:  # noqa: FBT001
    assert GEMINI.is_final(value) is is_final


@pytest.mark.parametrize(
    ("version", "model"),
    [("gemini-3.6-flash", "gemini-3.6-flash"), ("models/gemini-x", "gemini-x"), ("", None), (None, None), (7, None)],
)
def test_the_model_that_answered(version: object, model: str | None) -> None:
    assert GEMINI.find_model({"modelVersion": version}) == model


def test_an_error_in_a_stream_is_told_from_a_chunk() -> None:
    assert GEMINI.is_error_event({"error": {"code": 503, "status": "UNAVAILABLE"}})
    assert not GEMINI.is_error_event({"candidates": []})
