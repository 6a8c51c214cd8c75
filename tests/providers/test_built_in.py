import pytest

from penstock.core.provider import Dialect, EndpointKind
from penstock.providers import BUILT_IN, DIALECTS
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.gemini import GEMINI
from penstock.providers.openai import AZURE, COMPATIBLE, OPENAI, OPENROUTER, PERPLEXITY, XAI

CALL, FREE = EndpointKind.CALL, EndpointKind.FREE


def test_the_providers_that_need_only_a_key() -> None:
    assert [(p.name, p.dialect, p.base_url, p.key_names, p.book_name) for p in BUILT_IN.values()] == [
        ("openai", OPENAI, "https://api.openai.com/v1", ("OPENAI_API_KEY",), "openai"),
        ("openrouter", OPENROUTER, "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), "openrouter"),
        ("anthropic", ANTHROPIC, "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), "anthropic"),
        ("gemini", GEMINI, "https://generativelanguage.googleapis.com", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "google"),
        ("groq", COMPATIBLE, "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "groq"),
        ("mistral", COMPATIBLE, "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), "mistral"),
        ("deepseek", COMPATIBLE, "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), "deepseek"),
        ("xai", XAI, "https://api.x.ai/v1", ("XAI_API_KEY",), "x-ai"),
        ("together", COMPATIBLE, "https://api.together.xyz/v1", ("TOGETHER_API_KEY",), "together"),
        ("perplexity", PERPLEXITY, "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PPLX_API_KEY"), "perplexity"),
        ("azure", AZURE, "/openai/v1", ("AZURE_OPENAI_API_KEY",), "azure"),
    ]
    assert list(BUILT_IN) == [p.name for p in BUILT_IN.values()]
    assert {p.name for p in BUILT_IN.values() if not p.asks_usage} == {"mistral", "perplexity"}
    assert {p.name: p.address_name for p in BUILT_IN.values() if p.address_name} == {"azure": "AZURE_OPENAI_ENDPOINT"}


def test_the_formats_that_any_other_host_may_speak() -> None:
    assert dict(DIALECTS) == {"openai": COMPATIBLE, "anthropic": ANTHROPIC, "gemini": GEMINI}
    assert all(name == dialect.name for name, dialect in DIALECTS.items())


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
        ("responses", "POST", "/responses", CALL, "max_output_tokens", None),
        ("embeddings", "POST", "/embeddings", CALL, None, None),
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
