import pytest

from penstock.core.provider import Dialect, EndpointKind
from penstock.providers import BUILT_IN, DIALECTS
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import COMPATIBLE, OPENAI

CALL, FREE = EndpointKind.CALL, EndpointKind.FREE


def test_the_providers_that_need_only_a_key() -> None:
    assert [(p.name, p.dialect, p.base_url, p.key_names, p.book_name) for p in BUILT_IN.values()] == [
        ("openai", OPENAI, "https://api.openai.com/v1", ("OPENAI_API_KEY",), "openai"),
        ("anthropic", ANTHROPIC, "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), "anthropic"),
    ]
    assert list(BUILT_IN) == [p.name for p in BUILT_IN.values()]


def test_the_formats_that_any_other_host_may_speak() -> None:
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {"openai": "openai", "anthropic": "anthropic"}
    assert DIALECTS["openai"] is COMPATIBLE


@pytest.mark.parametrize(
    ("dialect", "key_header", "key"),
    [(OPENAI, "authorization", "Bearer k"), (COMPATIBLE, "authorization", "Bearer k"), (ANTHROPIC, "x-api-key", "k")],
)
def test_where_a_provider_looks_for_its_key(dialect: Dialect, key_header: str, key: str) -> None:
    assert (dialect.key_header, dialect.key_prefix + "k") == (key_header, key)
    assert dialect.usage_key == b'"usage"'


@pytest.mark.parametrize(("dialect", "cap_field"), [(OPENAI, "max_completion_tokens"), (COMPATIBLE, "max_tokens")])
def test_what_openais_format_can_do(dialect: Dialect, cap_field: str) -> None:
    assert [(e.name, e.method, e.path, e.kind, e.cap_field, e.stream_end) for e in dialect.endpoints] == [
        ("chat.completions", "POST", "/chat/completions", CALL, cap_field, b"[DONE]"),
        ("completions", "POST", "/completions", CALL, None, b"[DONE]"),
        ("embeddings", "POST", "/embeddings", CALL, None, None),
        ("responses", "POST", "/responses", CALL, "max_output_tokens", None),
        ("moderations", "POST", "/moderations", CALL, None, None),
        ("models", "GET", "/models", FREE, None, None),
        ("models", "GET", "/models/{model}", FREE, None, None),
    ]


def test_what_anthropics_format_can_do() -> None:
    assert [(e.name, e.method, e.path, e.kind, e.cap_field, e.stream_end) for e in ANTHROPIC.endpoints] == [
        ("messages", "POST", "/messages", CALL, "max_tokens", b"message_stop"),
        ("count_tokens", "POST", "/messages/count_tokens", FREE, None, None),
        ("models", "GET", "/models", FREE, None, None),
        ("models", "GET", "/models/{model}", FREE, None, None),
    ]
