"""HTTP/1.1 in: listens, sweeps every deadline with one timer, and drains.

What a connection does is in connection.py, what is refused in guard.py. Here is what concerns all of them: how many
there are, the timer, and the end. The handler runs once for each request, in a task of its own.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from math import inf

from penstock.wire.connection import Connection
from penstock.wire.listener import Listener, open_sockets
from penstock.wire.peer import GuardRules
from penstock.wire.reply import date_line
from penstock.wire.service import Handler, Refuse, ServerLimits, Service

SWEEP_S = 0.25
# What handlers have for their last words.
_LAST_WORDS_S = 2.0


class Server:
    """``handler`` answers requests, ``refuse`` turns an error into status, headers and body.

    ``now_s`` is the loop's clock. Nothing happens before ``start``; ``drain`` is the end.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        refuse: Refuse,
        limits: ServerLimits | None = None,
        rules: GuardRules | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = Service(
            handler, refuse, limits or ServerLimits(), rules or GuardRules(), now_s, self._check_empty
        )
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweeps: list[Callable[[float], None]] = []
        self._empty = asyncio.Event()
        self._last_words: Callable[[], None] | None = None
        self._unlisten_at_s = self._speak_by_s = self._end_by_s = inf

    async def start(
        self, host: str, port: int, *, sock: socket.socket | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen on a host and port (0: any), or on a socket that is bound already. Raises OSError."""
        sockets = [sock] if sock is not None else await open_sockets(host, port)
        self._listener = Listener(sockets, self._connect, self._has_room, tls)
        self._tick()

    @property
    def port(self) -> int:
        if self._listener is None:
            raise RuntimeError("the server is not started")
        return self._listener.port

    @property
    def connections(self) -> int:
        return len(self._service.connections)

    @property
    def body_bytes_held(self) -> int:
        """Bytes of request bodies whose replies have not started."""
        return self._service.memory.held_bytes

    def add_sweep(self, sweep: Callable[[float], None]) -> None:
        """Call this at each turn of the timer too, with the loop's clock, so that one timer serves the process."""
        self._sweeps.append(sweep)

    def sweep(self, now_s: float) -> None:
        """Act on every deadline that has passed. The timer calls it four times a second; a test may at any time."""
        self._service.date_line = date_line(time.time())
        for connection in tuple(self._service.connections):
            connection.sweep(now_s)
        for sweep in self._sweeps:
            sweep(now_s)
        if self._listener is not None and now_s < self._unlisten_at_s:
            self._listener.retry()
        if self._service.is_draining:
            self._sweep_drain(now_s)

    async def drain(
        self, grace_s: float, *, delay_s: float = 0.0, last_words: Callable[[], None] | None = None
    ) -> None:
        """End: every reply closes its connection; listen for ``delay_s`` more, finish within ``grace_s``, then cut.

        ``last_words`` is called when the grace is over and requests are still under way, to make their handlers end;
        shortly after, their tasks are cancelled. A second call with less time shortens the first (reliability.md A9).
        """
        now_s = self._service.now_s()
        self._service.is_draining = True
        self._last_words = last_words or self._last_words
        self._unlisten_at_s = min(self._unlisten_at_s, now_s + delay_s)
        self._speak_by_s = min(self._speak_by_s, now_s + delay_s + grace_s)
        self._sweep_drain(now_s)
        await self._empty.wait()
        if self._timer is not None:
            self._timer.cancel()

    def _sweep_drain(self, now_s: float) -> None:
        if now_s >= self._unlisten_at_s:
            if self._listener is not None:
                self._listener.close()
            for connection in tuple(self._service.connections):
                connection.close_if_idle()
        if now_s >= self._speak_by_s and self._end_by_s == inf:
            self._end_by_s = now_s + _LAST_WORDS_S
            if self._last_words is not None:
                self._last_words()
        if now_s >= self._end_by_s:
            for task in tuple(self._service.tasks):
                task.cancel()
        if now_s >= self._end_by_s + SWEEP_S:
            for connection in tuple(self._service.connections):
                connection.cut()
        self._check_empty()

    def _check_empty(self) -> None:
        service = self._service
        if not service.is_draining or service.now_s() < self._unlisten_at_s:
            return
        is_adopting = self._listener is not None and self._listener.is_adopting
        if not (is_adopting or service.connections or service.tasks):
            self._empty.set()

    def _tick(self) -> None:
        # First of all the next turn: whatever goes wrong in this one, deadlines go on.
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)
        self.sweep(self._service.now_s())

    def _connect(self) -> Connection:
        return Connection(self._service)

    def _has_room(self, handshakes: int) -> bool:
        limits = self._service.limits
        return len(self._service.connections) + handshakes < limits.connections + limits.surplus_connections
