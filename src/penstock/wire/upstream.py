"""HTTP/1.1 towards the providers: takes a connection from the pool or opens one, and starts an exchange on it.

Every open socket is counted here until it is closed, and has one user at most. All deadlines are kept by one sweep,
four times a second, on the clock that it is given; there is no timer per call (performance.md).
"""

import asyncio
import ssl
from collections.abc import Callable

from penstock.core.call import AnswerSink, Exchange, Fault, FaultKind, Outbound, UpstreamFault
from penstock.core.errors import GatewayError, Overloaded, ShuttingDown
from penstock.wire.dial import Resolve, dial, system_resolve, tls_context
from penstock.wire.exchange import UpstreamExchange
from penstock.wire.pool import Pool, PoolLimits
from penstock.wire.upstream_connection import UpstreamConnection

SWEEP_S = 0.25


class Upstream:
    """A ``core.call.Sender``. Made on the event loop that it will use; ``clock`` gives that loop's seconds."""

    def __init__(
        self,
        *,
        resolve: Resolve = system_resolve,
        ssl_context: ssl.SSLContext | None = None,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolve = resolve
        self._tls = ssl_context or tls_context()
        self._limits = limits or PoolLimits()
        self._clock = clock or self._loop.time
        self._pool: Pool[UpstreamConnection] = Pool(self._limits)
        self._connections: set[UpstreamConnection] = set()
        self._exchanges: set[UpstreamExchange] = set()
        self._dials: dict[asyncio.Timeout, float] = {}
        self._redials: set[asyncio.Task[None]] = set()
        self._has_no_socket = asyncio.Event()
        self._has_no_socket.set()
        self._is_closed = False
        self._timer = self._loop.call_later(SWEEP_S, self._tick)

    @property
    def open_sockets(self) -> int:
        """Sockets that are open or being opened, busy or idle."""
        return len(self._connections) + len(self._dials)

    @property
    def idle_connections(self) -> int:
        return len(self._pool)

    async def send(self, outbound: Outbound, sink: AnswerSink) -> Exchange:
        """See ``core.call.Sender``. Raises also AddressNotAllowed, Overloaded and ShuttingDown: nothing was sent."""
        if self._is_closed:
            raise _shutting_down()
        exchange = UpstreamExchange(outbound, sink, self, self._clock)
        connection = self._pool.take((outbound.origin, outbound.allow_private), self._clock())
        if connection is None:
            connection = await self._dial(outbound)
        self._exchanges.add(exchange)
        exchange.begin(connection)
        return exchange

    def sweep(self, now_s: float) -> None:
        """End what is overdue: dials, exchanges, idle connections."""
        for scope in [scope for scope, deadline_s in self._dials.items() if deadline_s <= now_s]:
            _expire(scope)
        for exchange in tuple(self._exchanges):
            overdue = exchange.find_overdue(now_s)
            if overdue is not None:
                exchange.fail(overdue)
        for connection in self._pool.take_expired(now_s):
            connection.discard()

    async def close(self) -> None:
        """End every exchange (CANCELLED) and return when the last socket is closed."""
        self._is_closed = True
        self._timer.cancel()
        for scope in self._dials:
            _expire(scope)
        for exchange in tuple(self._exchanges):
            exchange.cancel()
        for connection in tuple(self._connections):
            connection.discard()
        await asyncio.gather(*self._redials)
        await self._has_no_socket.wait()

    def exchange_ended(
        self, exchange: UpstreamExchange, connection: UpstreamConnection | None, *, is_reusable: bool
    ) -> None:
        self._exchanges.discard(exchange)
        if connection is None:
            return
        if is_reusable and not self._is_closed:
            self._keep(connection, must_rest=exchange.was_stream)
        else:
            connection.discard()

    def redial(self, exchange: UpstreamExchange) -> None:
        task = self._loop.create_task(self._begin_again(exchange))
        self._redials.add(task)
        task.add_done_callback(self._redials.discard)

    def connection_closing(self, connection: UpstreamConnection) -> None:
        self._pool.remove(connection)

    def connection_gone(self, connection: UpstreamConnection) -> None:
        self._connections.discard(connection)
        self._note_sockets()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SWEEP_S, self._tick)
        self.sweep(self._clock())

    def _keep(self, connection: UpstreamConnection, *, must_rest: bool = False) -> None:
        connection.release()
        displaced = self._pool.put(connection, self._clock(), must_rest=must_rest)
        if displaced is not None:
            displaced.discard()

    async def _begin_again(self, exchange: UpstreamExchange) -> None:
        try:
            connection = await self._dial(exchange.outbound)
        except UpstreamFault as error:
            exchange.fail(error.fault.kind, error.fault.detail)
        except GatewayError as error:
            exchange.fail(FaultKind.UNREACHABLE, error.code)
        else:
            if exchange.is_ended:
                self._keep(connection)
            else:
                exchange.begin(connection)

    async def _dial(self, outbound: Outbound) -> UpstreamConnection:
        """A new connection. Raises UpstreamFault, AddressNotAllowed, Overloaded and ShuttingDown."""
        self._make_room()
        try:
            connection = await self._open(outbound)
        except OSError as error:
            if self._is_closed:
                raise _shutting_down() from error
            kind = FaultKind.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else FaultKind.UNREACHABLE
            raise UpstreamFault(Fault(kind, was_sent=False, detail=str(error))) from error
        finally:
            self._note_sockets()
        if self._is_closed:
            connection.discard()
            raise _shutting_down()
        return connection

    def _make_room(self) -> None:
        if self.open_sockets < self._limits.connections_max:
            return
        oldest = self._pool.take_oldest()
        if oldest is None:
            raise Overloaded("Too many calls are under way; try again soon.", retry_after_s=1)
        oldest.discard()

    async def _open(self, outbound: Outbound) -> UpstreamConnection:
        """Dial within the connect deadline. Raises AddressNotAllowed and OSError (TimeoutError: too late)."""
        origin = outbound.origin
        tls = None if origin.scheme == "http" else self._tls
        async with asyncio.timeout(None) as scope:
            self._dials[scope] = self._clock() + outbound.timeouts.connect_s
            self._has_no_socket.clear()
            try:
                dialled = await dial(origin, self._resolve, allow_private=outbound.allow_private)
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection((origin, outbound.allow_private), self),
                    sock=dialled,
                    ssl=tls,
                    server_hostname=origin.host if tls else None,
                )
            finally:
                del self._dials[scope]
        if not connection.is_open:
            raise ConnectionResetError("closed before a request was sent")
        self._connections.add(connection)
        return connection

    def _note_sockets(self) -> None:
        if not self.open_sockets:
            self._has_no_socket.set()


def _expire(scope: asyncio.Timeout) -> None:
    """Let a scope time out at once: its time is the sweep's, not the loop's."""
    if not scope.expired():
        scope.reschedule(0)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("The gateway is shutting down.")
