"""Where a path leads: (method, path) to a Route, and a model's name to the provider that serves it.

Authorisation is decided on the Route, never on a path string. Two kinds of path lead to a provider:
``/{provider}/...``, and the unified ``/v1/...``, where the model in the body picks the provider (design.md, "Paths and
keys", "Model names").
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from penstock.core.errors import EndpointNotAllowed, MethodNotAllowed, ModelNotFound, UnknownRoute
from penstock.core.provider import MODEL_NAME_MAX, Dialect, Endpoint, EndpointKind, Provider

UNIFIED_PREFIX = "/v1"
DEPLOYMENTS_PREFIX = "/openai/deployments/"


@dataclass(frozen=True, slots=True)
class Route:
    """``provider`` is None on a unified route; ``tail`` is what follows the provider's base path, escapes kept.

    ``model`` is the one that the path names, None where the body does.
    """

    provider: Provider | None
    dialect: Dialect
    endpoint: Endpoint
    tail: str
    model: str | None = None

    @property
    def is_by_body(self) -> bool:
        """Whether the provider looks for the model's name in the body."""
        return "{model}" not in self.endpoint.path

    def at(self, provider: Provider) -> "Route":
        """The same operation at the provider that was chosen, which may have it elsewhere.

        Raises EndpointNotAllowed.
        """
        endpoint = next((e for e in provider.dialect.endpoints if e.name == self.endpoint.name), None)
        if endpoint is None:
            raise EndpointNotAllowed(f"{provider.name} has no {self.endpoint.name}.")
        return replace(self, provider=provider, dialect=provider.dialect, endpoint=endpoint, tail=endpoint.path)


def resolve(method: str, path: str, providers: Mapping[str, Provider], unified: Sequence[Dialect]) -> Route:
    """Raises UnknownRoute, MethodNotAllowed, or EndpointNotAllowed for a path of a provider that we cannot bound."""
    provider = find_provider(path, providers)
    if provider is not None:
        version, tail = _split_version(
            cut_base_path(path.removeprefix(f"/{provider.name}"), provider.base_path), provider
        )
        endpoint, model = _find_endpoint(method, tail, provider.dialect)
        return Route(provider, provider.dialect, endpoint, version + tail, model)
    tail, model = _split_unified(path)
    for dialect in unified:
        for endpoint in dialect.endpoints:
            if endpoint.path == tail and endpoint.kind is EndpointKind.CALL:
                if endpoint.method != method:
                    raise MethodNotAllowed(f"{path} takes {endpoint.method}.")
                return Route(None, dialect, endpoint, tail, model)
    raise UnknownRoute(f"No such route: {method} {path}")


def find_provider(path: str, providers: Mapping[str, Provider]) -> Provider | None:
    """The provider that a path begins with; where Azure's own SDK calls, that is azure, or else the model decides."""
    is_deployment = path.startswith(DEPLOYMENTS_PREFIX)
    return providers.get("azure" if is_deployment else path[1:].partition("/")[0])


def takes_slashes(start: str, providers: Mapping[str, Provider]) -> bool:
    """Whether a path that starts so goes on with a model's name to its end, which may have slashes of its own."""
    if start.startswith(f"{UNIFIED_PREFIX}/models/"):
        return True
    provider = find_provider(start, providers)
    if provider is None:
        return False
    _, tail = _split_version(cut_base_path(start.removeprefix(f"/{provider.name}"), provider.base_path), provider)
    heads = (endpoint.path.partition("{model}") for endpoint in provider.dialect.endpoints)
    return any(marker and not end and tail.startswith(head) for head, marker, end in heads)


def cut_base_path(rest: str, base_path: str) -> str:
    """Cut the longest prefix of ``rest`` that is a tail of the base path: at ``/api/v1``, ``/v1/x`` becomes ``/x``."""
    segments = base_path.strip("/").split("/") if base_path.strip("/") else []
    for start in range(len(segments)):
        prefix = "/" + "/".join(segments[start:])
        if rest == prefix or rest.startswith(prefix + "/"):
            return rest[len(prefix) :] or "/"
    return rest


def choose_provider(
    name: str, dialect: Dialect, providers: Mapping[str, Provider], has_price: Callable[[Provider, str], bool | None]
) -> tuple[Provider, str]:
    """The provider and its own id of a model named on a unified route; ``providers`` are in order of preference.

    ``has_price`` says True for a price of that very model, None for a provider that is free as a whole, else False.
    Raises ModelNotFound.
    """
    first, slash, model = name.partition("/")
    if slash and first in providers:
        provider = providers[first]
        if provider.dialect.name != dialect.name:
            raise _speaks_otherwise(provider, dialect)
        return provider, model
    speakers = [provider for provider in providers.values() if provider.dialect.name == dialect.name]
    answers = [(provider, has_price(provider, name)) for provider in speakers]
    for wanted in (True, None):
        for provider, answer in answers:
            if answer is wanted:
                return provider, name
    for provider in providers.values():
        if has_price(provider, name):
            raise _speaks_otherwise(provider, dialect)
    raise ModelNotFound(f"No provider here has a model named {name!r}.", param="model")


def _speaks_otherwise(provider: Provider, dialect: Dialect) -> ModelNotFound:
    name = provider.name
    return ModelNotFound(
        f"{name} does not speak {dialect.name}'s format; call it under /{name}/ instead.", param="model"
    )


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that resemble a mistyped one."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)


def passing_query(query: str, names: Collection[str] | None) -> str:
    """The parameters of a query that pass to the provider, as they came; ``names`` None: all of them."""
    if names is None:
        return query
    return "&".join(part for part in query.split("&") if unquote(part.partition("=")[0]) in names)


def _split_unified(path: str) -> tuple[str, str | None]:
    """The operation that a path without a provider names, and the model if it names one."""
    if path.startswith(DEPLOYMENTS_PREFIX):
        model, slash, rest = path[len(DEPLOYMENTS_PREFIX) :].partition("/")
        return slash + rest, unquote(model)
    return (path[len(UNIFIED_PREFIX) :] if path.startswith(UNIFIED_PREFIX + "/") else ""), None


def _split_version(tail: str, provider: Provider) -> tuple[str, str]:
    """The version segment to send and what follows it: the caller's, the base path's, else the dialect's first."""
    versions = provider.dialect.versions
    first, _, rest = tail[1:].partition("/")
    if first in versions:
        return f"/{first}", f"/{rest}"
    is_settled = not versions or provider.base_path.rpartition("/")[2] in versions
    return "" if is_settled else f"/{versions[0]}", tail


def _find_endpoint(method: str, tail: str, dialect: Dialect) -> tuple[Endpoint, str | None]:
    methods = []
    for endpoint in dialect.endpoints:
        is_match, model = _match(endpoint.path, tail)
        if is_match and endpoint.method == method:
            return endpoint, model
        if is_match:
            methods.append(endpoint.method)
    # An action (``:predict``) is an operation of its own, not another method of what stands before it.
    if methods and ":" not in tail.rpartition("/")[2]:
        raise MethodNotAllowed(f"This path takes {' or '.join(methods)}.")
    raise EndpointNotAllowed(f"{method} {tail} is not open here: an endpoint without a cost bound is refused.")


def _match(pattern: str, tail: str) -> tuple[bool, str | None]:
    head, marker, end = pattern.partition("{model}")
    if not marker:
        return tail == pattern, None
    if not tail.startswith(head) or not tail.endswith(end) or len(tail) <= len(head) + len(end):
        return False, None
    model = tail[len(head) : len(tail) - len(end)]
    if len(model) > MODEL_NAME_MAX or (end and "/" in model):
        return False, None
    return True, unquote(model)
