"""The front door: every request goes to the pages, to the gateway, or is a browser's preflight.

Any origin may read any answer, errors too, because callers are known by a token that they send, never by a cookie; so
no answer here ever allows credentials (reliability.md S14).
"""

from collections.abc import Awaitable, Callable, Sequence

from penstock.core.call import Header, Inbound, Reply, ReplyListener
from penstock.core.headers import CORS, preflight_headers

Handler = Callable[[Inbound, Reply], Awaitable[None]]


class Front:
    """``is_page`` tells the paths that ``pages`` answer; every other path is the gateway's."""

    def __init__(self, gateway: Handler, pages: Handler, is_page: Callable[[str], bool]) -> None:
        self._gateway = gateway
        self._pages = pages
        self._is_page = is_page

    async def handle(self, inbound: Inbound, reply: Reply) -> None:
        """Answer one request."""
        if inbound.method == "OPTIONS":
            reply.start(204, preflight_headers(inbound.headers), length=0)
            reply.end()
        elif self._is_page(inbound.path):
            await self._pages(inbound, OpenToAllOrigins(reply))
        else:
            await self._gateway(inbound, reply)


class OpenToAllOrigins:
    """A reply that adds the CORS headers when it starts."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def has_started(self) -> bool:
        return self._reply.has_started

    @property
    def is_gone(self) -> bool:
        return self._reply.is_gone

    def attach(self, listener: ReplyListener) -> None:
        self._reply.attach(listener)

    def start(self, status: int, headers: Sequence[Header], *, length: int | None) -> None:
        self._reply.start(status, [*headers, *CORS], length=length)

    def write(self, data: bytes) -> None:
        self._reply.write(data)

    def end(self) -> None:
        self._reply.end()

    def abort(self) -> None:
        self._reply.abort()
