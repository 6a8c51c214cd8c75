"""Every page as data: its path, who may read it, and what answers.

The pages of OPEN are all that answers without a credential, and none of them calls out (reliability.md S20). Who may
read a page is decided on its row here, never on a path string.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.core.call import INBOUND_EXTENSION, Authenticator, Inbound
from penstock.core.errors import GatewayError, MethodNotAllowed, Unauthenticated, UnknownRoute
from penstock.core.identity import Principal
from penstock.web.answers import error_answer
from penstock.web.front_page import front_page
from penstock.web.health import Health
from penstock.web.metrics_page import MetricsPage
from penstock.web.models_api import ModelsApi
from penstock.web.usage_api import UsageApi
from penstock.web.visit import Visit


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Answers anybody."""

    path: str
    answer: Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class CallersPage:
    """Answers whoever shows a good credential."""

    path: str
    answer: Callable[[Visit, Principal], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class OperatorsPage:
    """Answers this machine, and whoever shows the operator's token: the page itself looks."""

    path: str
    answer: Callable[[Visit], Awaitable[Response]]


Page = OpenPage | CallersPage | OperatorsPage


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are made of. ``now_ms`` is the wall clock."""

    authenticator: Authenticator
    health: Health
    usage: UsageApi
    models: ModelsApi
    metrics: MetricsPage
    now_ms: Callable[[], int]


def pages(parts: Parts) -> tuple[Page, ...]:
    """The table. All of them are read with GET."""
    return (
        OpenPage("/", front_page),
        OpenPage("/healthz", parts.health.healthz),
        OpenPage("/readyz", parts.health.readyz),
        OperatorsPage("/metrics", parts.metrics.page),
        CallersPage("/me", parts.usage.me_page),
        CallersPage("/usage", parts.usage.usage_page),
        CallersPage("/v1/models", parts.models.list_page),
        CallersPage("/v1/models/{model:path}", parts.models.one_page),
    )


class Web:
    """The pages as an ASGI application, and the rule that tells their paths from the gateway's."""

    def __init__(self, parts: Parts) -> None:
        table = pages(parts)
        self._paths = frozenset(page.path for page in table if "{" not in page.path)
        self._prefixes = tuple(page.path.partition("{")[0] for page in table if "{" in page.path)
        self.app = Starlette(
            routes=[Route(page.path, _endpoint(page, parts), methods=["GET"]) for page in table],
            exception_handlers={GatewayError: _refuse, HTTPException: _refuse, Exception: _refuse},
        )
        # A redirect would be built from the Host header, which anybody may send.
        self.app.router.redirect_slashes = False

    def is_page(self, path: str) -> bool:
        """Whether a request's raw path leads here."""
        return path in self._paths or path.startswith(self._prefixes)


def _endpoint(page: Page, parts: Parts) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        inbound, now_ms = _inbound(request), parts.now_ms()
        visit = Visit(inbound, request.query_params, request.path_params, now_ms)
        if not isinstance(page, CallersPage):
            return await page.answer(visit)
        caller = await parts.authenticator.authenticate(inbound, now_ms)
        if caller is None:
            raise Unauthenticated
        return await page.answer(visit, caller)

    return answer


async def _refuse(request: Request, exc: Exception) -> Response:
    inbound = _inbound(request)
    if isinstance(exc, HTTPException):
        is_known = exc.status_code == 405
        exc = MethodNotAllowed("This page takes GET.") if is_known else UnknownRoute(f"No such page: {inbound.path}")
    if not isinstance(exc, GatewayError):
        exc = GatewayError("Something went wrong here; the request id leads to it in the log.")
    return error_answer(inbound, exc)


def _inbound(request: Request) -> Inbound:
    inbound: Inbound = request.scope["extensions"][INBOUND_EXTENSION]
    return inbound
