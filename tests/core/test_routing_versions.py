"""Gemini's clients name a version, or none, in front of the path that names the model and what to do with it."""

import pytest

from penstock.core.errors import EndpointNotAllowed, MethodNotAllowed
from penstock.core.provider import Origin, Provider
from penstock.core.routing import find_provider, passing_query, resolve
from penstock.providers.gemini import GEMINI

ACTION = "/models/gemini-2.5-flash:generateContent"
VERTEX_ACTION = "/publishers/google" + ACTION


def provider(name: str, base_path: str = "") -> Provider:
    return Provider(name, GEMINI, Origin("https", f"{name}.example", 443), base_path)


PROVIDERS = {one.name: one for one in (provider("gemini"), provider("vertex"), provider("settled", "/v1alpha"))}


@pytest.mark.parametrize(
    ("path", "tail"),
    [
        ("/gemini/v1" + ACTION, "/v1" + ACTION),
        ("/gemini/v1beta" + ACTION, "/v1beta" + ACTION),
        ("/gemini/v1alpha" + ACTION, "/v1alpha" + ACTION),
        ("/gemini" + ACTION, "/v1beta" + ACTION),
        ("/vertex/v1beta1" + VERTEX_ACTION, "/v1beta1" + VERTEX_ACTION),
        ("/settled/v1alpha" + ACTION, ACTION),
        ("/settled" + ACTION, ACTION),
    ],
)
def test_the_version_that_is_sent_is_the_callers_or_the_dialects_first(path: str, tail: str) -> None:
    route = resolve("POST", path, PROVIDERS, ())
    assert (route.endpoint.name, route.tail, route.model) == ("generateContent", tail, "gemini-2.5-flash")


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "model"),
    [
        ("POST", "/gemini/v1beta/models/m:streamGenerateContent", "streamGenerateContent", "m"),
        ("POST", "/gemini/v1beta/models/m:embedContent", "embedContent", "m"),
        ("POST", "/gemini/v1beta/models/m:batchEmbedContents", "batchEmbedContents", "m"),
        ("POST", "/gemini/v1beta/models/m:countTokens", "countTokens", "m"),
        ("GET", "/gemini/v1beta/models", "models", None),
        ("GET", "/gemini/models/m", "models", "m"),
    ],
)
def test_a_path_names_the_operation_and_the_model(method: str, path: str, endpoint: str, model: str | None) -> None:
    route = resolve(method, path, PROVIDERS, ())
    assert (route.endpoint.name, route.model) == (endpoint, model)


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("POST", "/gemini/v1/interactions", EndpointNotAllowed),
        ("POST", "/gemini/v1beta/openai/chat/completions", EndpointNotAllowed),
        ("POST", "/gemini/v1beta/models/m:predict", EndpointNotAllowed),
        ("POST", "/gemini/v1beta/models/m:predictLongRunning", EndpointNotAllowed),
        ("POST", "/gemini/v1beta/models/a/b:generateContent", EndpointNotAllowed),
        ("POST", "/gemini/v2" + ACTION, EndpointNotAllowed),
        ("POST", "/gemini/v1/v1beta" + ACTION, EndpointNotAllowed),
        ("POST", "/gemini/v1beta/cachedContents", EndpointNotAllowed),
        ("POST", "/gemini/v1beta/tunedModels/m:generateContent", EndpointNotAllowed),
        ("POST", "/vertex/v1beta1/projects/p/locations/l" + VERTEX_ACTION, EndpointNotAllowed),
        ("POST", "/gemini/v1beta/models", MethodNotAllowed),
    ],
)
def test_what_has_no_bound_is_not_open(method: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        resolve(method, path, PROVIDERS, ())


def test_a_path_begins_with_its_providers_name() -> None:
    assert find_provider("/gemini/v1/x", PROVIDERS) is PROVIDERS["gemini"]
    assert find_provider("/Gemini/v1/x", PROVIDERS) is None
    assert find_provider("", PROVIDERS) is None


@pytest.mark.parametrize(
    ("query", "passing"),
    [
        ("alt=sse", "alt=sse"),
        ("$alt=json;enum-encoding=int", "$alt=json;enum-encoding=int"),
        ("%24alt=json", "%24alt=json"),
        ("fields=candidates&alt=sse&pageSize=5", "alt=sse&pageSize=5"),
        ("$fields=candidates&callback=f&access_token=x", ""),
        ("", ""),
    ],
)
def test_only_parameters_that_hide_nothing_pass(query: str, passing: str) -> None:
    assert passing_query(query, GEMINI.query_names) == passing
    assert passing_query(query, None) == query
