"""The demo provider: a model that needs no key and no network, so that a first call works before anything is set up.

It speaks OpenAI's dialect on a loopback port of its own, behind a random key, so that its calls take the same path as
any other provider's and are metered and priced like them.
"""

import asyncio
import hmac
import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal

from penstock.core.call import Header, Inbound, Reply
from penstock.core.error_bodies import error_response
from penstock.core.errors import GatewayError, MethodNotAllowed, Unauthenticated, UnknownRoute
from penstock.core.pricing import Price, usd_rate
from penstock.core.provider import Dialect, Origin, Provider
from penstock.core.usage import Unit
from penstock.demo import api
from penstock.demo.model import MODEL

# What a small real model costs.
PRICE = Price({Unit.INPUT: usd_rate(Decimal("0.10"), 1_000_000), Unit.OUTPUT: usd_rate(Decimal("0.40"), 1_000_000)})
_BODY_BYTES_MAX = 32 * 1024 * 1024
_JSON: Header = (b"content-type", b"application/json")
_EVENTS: Header = (b"content-type", b"text/event-stream")
_COMPLETIONS = {"/v1/chat/completions": api.CHAT, "/v1/completions": api.TEXT}


def demo_provider(dialect: Dialect, port: int, key: str) -> Provider:
    """The Provider as which the gateway calls a Demo on that port; the dialect is OpenAI's."""
    origin = Origin("http", "127.0.0.1", port)
    return Provider("demo", dialect, origin, "/v1", key=key, book_name="demo", allow_private=True)


class Demo:
    """The handler of the demo's own server. ``key`` is asked for on every request; ``now_ms`` dates the answers."""

    def __init__(self, key: str, now_ms: Callable[[], int]) -> None:
        self._key = key.encode()
        self._now_ms = now_ms
        self._numbers = itertools.count(1)

    async def __call__(self, inbound: Inbound, reply: Reply) -> None:
        """A Handler: answers every request, refusals too, and raises nothing for what a caller did wrong."""
        number = next(self._numbers)
        request_id: Header = (b"x-request-id", b"demo-%d" % number)
        try:
            self._check_key(inbound)
            if inbound.path in _COMPLETIONS and inbound.method == "POST":
                stamp = api.Stamp(number, self._now_ms() // 1000)
                shape, body = _COMPLETIONS[inbound.path], await inbound.read_body(_BODY_BYTES_MAX)
                answer = api.answer(shape, body, stamp)
            else:
                answer = _listing(inbound)
        except GatewayError as error:
            status, headers, body = error_response(error, "openai", f"demo-{number}")
            _send(reply, status, headers, body)
            return
        if isinstance(answer, bytes):
            _send(reply, 200, [_JSON, request_id], answer)
        else:
            reply.start(200, [_EVENTS, request_id], length=None)
            await _stream(reply, answer)

    def _check_key(self, inbound: Inbound) -> None:
        if not hmac.compare_digest(inbound.header(b"authorization") or b"", b"Bearer " + self._key):
            raise Unauthenticated


def _listing(inbound: Inbound) -> bytes:
    listings = {"/v1/models": api.model_list, f"/v1/models/{MODEL}": api.model_card}
    if inbound.path in _COMPLETIONS or (inbound.path in listings and inbound.method != "GET"):
        raise MethodNotAllowed(f"{inbound.path} does not take {inbound.method}.")
    if inbound.path not in listings:
        raise UnknownRoute(f"The demo has no {inbound.path}.")
    return listings[inbound.path]()


def _send(reply: Reply, status: int, headers: list[Header], body: bytes) -> None:
    reply.start(status, headers, length=len(body))
    reply.write(body)
    reply.end()


async def _stream(reply: Reply, events: Iterable[bytes]) -> None:
    pace = _Pace()
    reply.attach(pace)
    for event in events:
        await pace.is_open.wait()
        if reply.is_gone:
            return
        reply.write(event)
    reply.end()


class _Pace:
    """A ReplyListener: lets a stream go on while the client reads it, or once it has left."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()

    def pause(self) -> None:
        self.is_open.clear()

    def resume(self) -> None:
        self.is_open.set()

    def client_left(self) -> None:
        self.is_open.set()
