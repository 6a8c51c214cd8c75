from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import EndpointNotAllowed, MethodNotAllowed, ModelNotFound, UnknownRoute
from penstock.core.provider import Dialect, Endpoint, Origin, Provider
from penstock.core.routing import choose_provider, cut_base_path, nearest_names, resolve, takes_slashes
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import AZURE as AZURE_HOST
from penstock.providers.openai import COMPATIBLE, OPENAI


def provider(name: str, base_path: str = "/v1", dialect: Dialect = COMPATIBLE) -> Provider:
    return Provider(name, dialect, Origin("https", f"{name}.example", 443), base_path)


PROVIDERS = {
    p.name: p
    for p in (
        provider("openai", dialect=OPENAI),
        provider("anthropic", dialect=ANTHROPIC),
        provider("openrouter", "/api/v1"),
        provider("groq", "/openai/v1"),
        provider("lab", ""),
    )
}
UNIFIED = (COMPATIBLE, ANTHROPIC)


@pytest.mark.parametrize(
    ("rest", "base_path", "tail"),
    [
        ("/v1/x", "/v1", "/x"),
        ("/x", "/v1", "/x"),
        ("/v1", "/v1", "/"),
        ("/", "/v1", "/"),
        ("/v1/", "/v1", "/"),
        ("/v1x", "/v1", "/v1x"),
        ("/v1/v1/x", "/v1", "/v1/x"),
        ("/api/v1/x", "/api/v1", "/x"),
        ("/v1/x", "/api/v1", "/x"),
        ("/api/x", "/api/v1", "/api/x"),
        ("/a/x", "/a/b/a", "/x"),
        ("/b/a/x", "/a/b/a", "/x"),
        ("/v1/x", "", "/v1/x"),
        ("/v1/x", "/", "/v1/x"),
        ("//x", "", "//x"),
    ],
)
def test_the_longest_prefix_that_ends_the_base_path_is_cut(rest: str, base_path: str, tail: str) -> None:
    assert cut_base_path(rest, base_path) == tail


_SEGMENTS = st.lists(st.sampled_from(["a", "b", "v1"]), max_size=4)


@given(_SEGMENTS, _SEGMENTS)
def test_what_is_cut_ends_the_base_path_and_what_is_left_does_not_begin_with_more(
    base: list[str], rest: list[str]
) -> None:
    tail = cut_base_path("/" + "/".join(rest), "/" + "/".join(base) if base else "")
    kept = [segment for segment in tail.split("/") if segment]
    cut = rest[: len(rest) - len(kept)]
    assert [*cut, *kept] == rest
    assert not cut or base[-len(cut) :] == cut
    longer = [n for n in range(len(cut) + 1, len(rest) + 1) if n <= len(base) and rest[:n] == base[-n:]]
    assert not longer


@pytest.mark.parametrize(
    ("method", "path", "name", "endpoint", "tail", "model"),
    [
        ("POST", "/openai/v1/chat/completions", "openai", "chat.completions", "/chat/completions", None),
        ("POST", "/openai/chat/completions", "openai", "chat.completions", "/chat/completions", None),
        ("POST", "/openrouter/api/v1/chat/completions", "openrouter", "chat.completions", "/chat/completions", None),
        ("POST", "/openrouter/v1/completions", "openrouter", "completions", "/completions", None),
        ("POST", "/groq/openai/v1/chat/completions", "groq", "chat.completions", "/chat/completions", None),
        ("POST", "/groq/v1/chat/completions", "groq", "chat.completions", "/chat/completions", None),
        ("POST", "/lab/chat/completions", "lab", "chat.completions", "/chat/completions", None),
        ("GET", "/openai/v1/models", "openai", "models", "/models", None),
        ("GET", "/openai/v1/models/gpt-4o", "openai", "models", "/models/gpt-4o", "gpt-4o"),
        ("GET", "/openrouter/v1/models/a%2Fb/c", "openrouter", "models", "/models/a%2Fb/c", "a/b/c"),
        ("POST", "/anthropic/v1/messages", "anthropic", "messages", "/messages", None),
        ("POST", "/anthropic/v1/messages/count_tokens", "anthropic", "count_tokens", "/messages/count_tokens", None),
    ],
)
def test_a_path_under_a_providers_name_leads_to_it(
    method: str, path: str, name: str, endpoint: str, tail: str, model: str | None
) -> None:
    route = resolve(method, path, PROVIDERS, UNIFIED)
    assert route.provider is PROVIDERS[name]
    assert route.dialect is PROVIDERS[name].dialect
    assert (route.endpoint.name, route.tail, route.model) == (endpoint, tail, model)


@pytest.mark.parametrize(
    ("path", "dialect", "endpoint"),
    [
        ("/v1/chat/completions", COMPATIBLE, "chat.completions"),
        ("/v1/completions", COMPATIBLE, "completions"),
        ("/v1/messages", ANTHROPIC, "messages"),
    ],
)
def test_a_unified_path_leads_to_a_dialect(path: str, dialect: Dialect, endpoint: str) -> None:
    route = resolve("POST", path, PROVIDERS, UNIFIED)
    assert (route.provider, route.dialect, route.endpoint.name, route.tail) == (None, dialect, endpoint, path[3:])


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/v1/chat/completions", MethodNotAllowed),
        ("POST", "/openai/v1/models", MethodNotAllowed),
        ("HEAD", "/openai/v1/models/gpt-4o", MethodNotAllowed),
        ("DELETE", "/openai/v1/models/gpt-4o", MethodNotAllowed),
        ("GET", "/anthropic/v1/messages", MethodNotAllowed),
        ("GET", "/openai/v1/responses/resp_1", EndpointNotAllowed),
        ("POST", "/openai/v1/chat/completions/", EndpointNotAllowed),
        ("POST", "/openai/v1//chat/completions", EndpointNotAllowed),
        ("POST", "/openai/v1/chat/completions/x", EndpointNotAllowed),
        ("POST", "/openai/v1/Chat/Completions", EndpointNotAllowed),
        ("GET", "/openai/v1/models/", EndpointNotAllowed),
        ("GET", "/openai/v1/models/" + "x" * 257, EndpointNotAllowed),
        ("POST", "/anthropic/v1/messages/batches", EndpointNotAllowed),
        ("POST", "/anthropic/v1/chat/completions", EndpointNotAllowed),
        ("GET", "/openai", EndpointNotAllowed),
        ("GET", "/v1/models", UnknownRoute),
        ("POST", "/v1/messages/count_tokens", UnknownRoute),
        ("POST", "/v1/files", UnknownRoute),
        ("POST", "/v1chat/completions", UnknownRoute),
        ("POST", "/xx/chat/completions", UnknownRoute),
        ("POST", "/OpenAI/v1/chat/completions", UnknownRoute),
        ("POST", "/elsewhere/v1/chat/completions", UnknownRoute),
        ("GET", "/", UnknownRoute),
        ("GET", "", UnknownRoute),
    ],
)
def test_what_leads_nowhere_says_why(method: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        resolve(method, path, PROVIDERS, UNIFIED)
    assert type(caught.value) is error


DEPLOYMENT = Endpoint("chat.completions", "POST", "/deployments/{model}/chat/completions")
AZURE = {"azure": provider("azure", "/openai", replace(COMPATIBLE, endpoints=(DEPLOYMENT,)))}


@pytest.mark.parametrize(
    ("model", "named"),
    [("gpt-4o", "gpt-4o"), ("a%20b", "a b"), ("deployments", "deployments"), ("", None), ("a/b", None)],
)
def test_a_model_in_the_middle_of_a_path_is_one_segment(model: str, named: str | None) -> None:
    path = f"/azure/openai/deployments/{model}/chat/completions"
    if named is not None:
        assert resolve("POST", path, AZURE, ()).model == named
    else:
        with pytest.raises(EndpointNotAllowed):
            resolve("POST", path, AZURE, ())


@pytest.mark.parametrize("path", ["/azure/openai/deployments/chat/completions", "/azure/openai/deployments/m/chat"])
def test_a_path_that_lacks_a_part_of_the_pattern_is_another(path: str) -> None:
    with pytest.raises(EndpointNotAllowed):
        resolve("POST", path, AZURE, ())


def test_a_chosen_provider_brings_its_own_words_for_the_same_operation() -> None:
    route = resolve("POST", "/v1/chat/completions", PROVIDERS, UNIFIED)
    here, there = route.at(PROVIDERS["openai"]), route.at(PROVIDERS["lab"])
    assert (here.provider, here.dialect, here.tail) == (PROVIDERS["openai"], OPENAI, "/chat/completions")
    elsewhere = replace(COMPATIBLE, endpoints=(Endpoint("chat.completions", "POST", "/v2/chat"),))
    assert route.at(provider("other", dialect=elsewhere)).tail == "/v2/chat"
    with pytest.raises(EndpointNotAllowed):
        route.at(provider("none", dialect=replace(COMPATIBLE, endpoints=())))
    assert (here.endpoint.cap_field, there.endpoint.cap_field) == ("max_completion_tokens", "max_tokens")


def test_where_azures_own_sdk_calls_azure_answers_or_the_model_decides() -> None:
    path = "/openai/deployments/gpt%204o/chat/completions"
    at_azure = resolve("POST", path, {**PROVIDERS, "azure": provider("azure", "/openai/v1", AZURE_HOST)}, UNIFIED)
    assert at_azure.provider is not None
    assert (at_azure.provider.name, at_azure.tail, at_azure.endpoint.is_rooted) == ("azure", path, True)
    assert (at_azure.model, at_azure.is_by_body) == ("gpt 4o", False)
    anywhere = resolve("POST", path, PROVIDERS, UNIFIED)
    assert (anywhere.provider, anywhere.model, anywhere.tail) == (None, "gpt 4o", "/chat/completions")
    assert anywhere.is_by_body
    with pytest.raises(UnknownRoute):
        resolve("POST", "/openai/deployments/gpt-4o", PROVIDERS, UNIFIED)


PRICES = {
    ("lab", "llama"): True,
    ("groq", "llama"): True,
    ("openrouter", "gpt-4o"): True,
    ("anthropic", "claude"): True,
}


def has_price(at: Provider, model: str) -> bool | None:
    return PRICES.get((at.name, model), None if at.name == "lab" else False)


@pytest.mark.parametrize(
    ("name", "dialect", "chosen", "model"),
    [
        ("openai/gpt-4o", COMPATIBLE, "openai", "gpt-4o"),
        ("openrouter/openai/gpt-4o", COMPATIBLE, "openrouter", "openai/gpt-4o"),
        ("lab/unheard-of", COMPATIBLE, "lab", "unheard-of"),
        ("gpt-4o", COMPATIBLE, "openrouter", "gpt-4o"),
        ("llama", COMPATIBLE, "groq", "llama"),
        ("unheard-of", COMPATIBLE, "lab", "unheard-of"),
        ("meta/llama-3", COMPATIBLE, "lab", "meta/llama-3"),
        ("openai", COMPATIBLE, "lab", "openai"),
        ("claude", ANTHROPIC, "anthropic", "claude"),
        ("anthropic/claude", ANTHROPIC, "anthropic", "claude"),
    ],
)
def test_a_models_name_picks_its_provider(name: str, dialect: Dialect, chosen: str, model: str) -> None:
    assert choose_provider(name, dialect, PROVIDERS, has_price) == (PROVIDERS[chosen], model)


@pytest.mark.parametrize(
    ("name", "dialect", "message"),
    [
        ("anthropic/claude", COMPATIBLE, "does not speak openai's format; call it under /anthropic/"),
        ("openai/gpt-4o", ANTHROPIC, "does not speak anthropic's format"),
        ("llama", ANTHROPIC, "groq does not speak anthropic's format; call it under /groq/"),
        ("unheard-of", ANTHROPIC, "No provider here has a model named 'unheard-of'"),
    ],
)
def test_a_model_that_nobody_here_has_is_not_found(name: str, dialect: Dialect, message: str) -> None:
    with pytest.raises(ModelNotFound, match=message) as caught:
        choose_provider(name, dialect, PROVIDERS, has_price)
    assert caught.value.param == "model"


def test_the_nearest_names_are_told() -> None:
    known = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-nano", "claude-sonnet"]
    assert nearest_names("gpt-4o-minni", known)[0] == "gpt-4o-mini"
    assert len(nearest_names("gpt-4", known)) == 3
    assert nearest_names("zzz", known) == []


@pytest.mark.parametrize(
    ("start", "takes"),
    [
        ("/lab/models/meta", True),
        ("/openrouter/api/v1/models/", True),
        ("/v1/models/lab", True),
        ("/lab/models", False),
        ("/lab/chat", False),
        ("/lab", False),
        ("/elsewhere/models/a", False),
    ],
)
def test_only_a_models_name_at_the_end_of_a_path_has_slashes(start: str, *, takes: bool) -> None:
    assert takes_slashes(start, PROVIDERS) is takes
