"""The bridge to everything behind our port that is not a relayed call: one request becomes one ASGI HTTP exchange.

HTTP only. Requests come with their whole body, which is read when the app asks for it; responses stream, and an app
that writes faster than its client reads has to wait. An app that shows no progress is stopped. What the app says about
framing is replaced by our own (ASGI 3.0, HTTP and WebSocket spec 2.4).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from penstock.core.call import INBOUND_EXTENSION, Inbound, Reply
from penstock.core.errors import GatewayError
from penstock.core.headers import Header
from penstock.wire.lifespan import AsgiApp, Lifespan, Message

BODY_BYTES_MAX = 1024 * 1024
_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
# The server adds these itself.
_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date", b"server"})


class AsgiBridge:
    """A handler that lets an ASGI app answer. It raises GatewayError for a body that the app could not get.

    ``body_bytes_max`` is per request; ``stall_s`` is how long an app may neither ask nor say anything, a wait for its
    client apart. ``sweep`` must be called a few times a second (``Server.add_sweep``).
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        stall_s: float = 60.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max
        self._stall_s = stall_s
        self._now_s = now_s
        self._lifespan = Lifespan(app)
        self._sessions: set[_Session] = set()

    async def start(self) -> None:
        """Let the app prepare itself. Raises what it raises, or RuntimeError with its words."""
        await self._lifespan.start()

    async def stop(self) -> None:
        """Let the app clean up, once no request is under way any more."""
        await self._lifespan.stop()

    async def __call__(self, inbound: Inbound, reply: Reply) -> None:
        """One exchange. An app that fails before its first word is the server's to answer for."""
        session = _Session(inbound, reply, self._body_bytes_max, self._now_s)
        reply.attach(session)
        self._sessions.add(session)
        try:
            await self._app(_scope(inbound, self._lifespan.state), session.receive, session.send)
        except asyncio.CancelledError:
            session.raise_stalled()
            raise
        except Exception:
            if reply.is_gone:
                return
            session.raise_refusal()
            raise
        finally:
            self._sessions.discard(session)
        session.raise_refusal()

    def sweep(self, now_s: float) -> None:
        """Stop the apps that show no progress."""
        for session in self._sessions:
            if now_s >= session.progress_s + self._stall_s:
                session.stop()


class _Session:
    """One exchange, as the app sees it (receive, send), and as the client's connection does (pause, resume...)."""

    def __init__(self, inbound: Inbound, reply: Reply, body_bytes_max: int, now_s: Callable[[], float]) -> None:
        self._inbound = inbound
        self._reply = reply
        self._body_bytes_max = body_bytes_max
        self._now_s = now_s
        self._task = asyncio.current_task()
        self._refusal: GatewayError | None = None
        self._was_read = self._was_stopped = self._waits_for_client = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = asyncio.Event()
        self._progressed_s = now_s()

    @property
    def progress_s(self) -> float:
        """When the app has last shown that it lives; now, where it is the client who keeps it waiting."""
        return self._now_s() if self._waits_for_client else self._progressed_s

    async def receive(self) -> Message:
        if not self._was_read:
            self._was_read = True
            body = await self._read_body()
            if not self._reply.is_gone:
                return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._refusal is not None:
            return  # The app answers for a failure of ours; the refusal itself says more.
        if self._reply.is_gone:
            raise OSError("the client has left")
        self._progressed_s = self._now_s()
        if message["type"] == "http.response.start":
            self._start(message)
        elif message["type"] == "http.response.body":
            self._reply.write(_as_bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._reply.end()
                self._over.set()
        else:
            raise ValueError("an app has sent a message that this server does not know")
        if not self._writable.is_set():
            with self._client_keeps_us_waiting():
                await self._writable.wait()

    def stop(self) -> None:
        """Cancel the app, unless that was done."""
        if not self._was_stopped and self._task is not None:
            self._was_stopped = True
            self._task.cancel()

    def raise_stalled(self) -> None:
        """If it was ``stop`` that has cancelled the task, the task goes on with an error instead."""
        if self._was_stopped and self._task is not None and self._task.uncancel() == 0:
            raise GatewayError("The page took too long.")

    def raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def pause(self) -> None:
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()

    def client_left(self) -> None:
        self._writable.set()
        self._over.set()

    def _start(self, message: Message) -> None:
        status = message["status"]
        if not isinstance(status, int):
            raise TypeError("an app's status must be an integer")
        headers = _as_headers(message.get("headers", ()))
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        self._reply.start(status, [header for header in headers if header[0] not in _OURS], length=length)

    async def _read_body(self) -> bytes:
        try:
            with self._client_keeps_us_waiting():
                return await self._inbound.read_body(self._body_bytes_max)
        except GatewayError as error:
            self._refusal = error
            raise

    @contextmanager
    def _client_keeps_us_waiting(self) -> Iterator[None]:
        self._waits_for_client = True
        try:
            yield
        finally:
            self._waits_for_client = False
            self._progressed_s = self._now_s()


def _scope(inbound: Inbound, state: dict[str, object]) -> Message:
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": inbound.method,
        "scheme": inbound.scheme,
        "path": unquote(inbound.path),
        "raw_path": inbound.path.encode("ascii"),
        "query_string": inbound.query.encode("ascii"),
        "root_path": "",
        "headers": list(inbound.headers),
        "client": (inbound.client, 0),
        "server": _server((inbound.header(b"host") or b"").decode("latin-1")),
        "state": dict(state),
        "extensions": {INBOUND_EXTENSION: inbound},
    }


def _server(authority: str) -> tuple[str, int | None]:
    host, _, port = authority.rpartition(":")
    return (host, int(port)) if port.isdigit() and host else (authority, None)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError("an app's body must be bytes")


def _as_headers(value: object) -> list[Header]:
    if not isinstance(value, Iterable):
        raise TypeError("an app's headers must be pairs of bytes")
    return [(_as_bytes(name).lower(), _as_bytes(text)) for name, text in value]
