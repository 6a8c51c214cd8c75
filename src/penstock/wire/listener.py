"""Where clients arrive: an accept loop that pauses where the event loop's own would fail or drop them.

It pauses when file descriptors run out, and when there is no room for another connection; who is not accepted yet waits
in the kernel's queue, and those who are connected notice nothing. ``retry`` is called by the server's timer.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

_BACKLOG = 2048
_ACCEPTS_PER_TURN = 64
_HANDSHAKE_S = 10.0


async def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of a host. Raises OSError if one of them is taken or not ours."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, *_, address in dict.fromkeys(found):
            sockets.append(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


class Listener:
    """Accepts on some sockets, which it owns.

    ``has_room`` is asked before each accept, with the number of clients that still shake hands. ``port`` is that of the
    first socket, which the kernel chose if none was asked for.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        connect: Callable[[], asyncio.BaseProtocol],
        has_room: Callable[[int], bool],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self.port = int(sockets[0].getsockname()[1])
        self._connect = connect
        self._has_room = has_room
        self._tls = tls
        self._adoptions: set[asyncio.Task[None]] = set()
        self._is_listening = False
        for listening in sockets:
            listening.setblocking(False)
        self.retry()

    @property
    def is_adopting(self) -> bool:
        """Some clients are accepted and no connections yet; without TLS that takes two turns of the loop."""
        return bool(self._adoptions)

    @property
    def handshakes(self) -> int:
        return len(self._adoptions) if self._tls is not None else 0

    def retry(self) -> None:
        """Accept again after a pause."""
        if not self._is_listening and self._has_room(self.handshakes):
            self._is_listening = True
            for listening in self._sockets:
                self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Take no more clients. Those who still shake hands are left, those who wait the kernel turns away."""
        self._pause()
        for listening in self._sockets:
            listening.close()
        if self._tls is not None:
            for adoption in self._adoptions:
                adoption.cancel()

    def _pause(self) -> None:
        if self._is_listening:
            self._is_listening = False
            for listening in self._sockets:
                self._loop.remove_reader(listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            if not self._has_room(self.handshakes):
                self._pause()
                return
            try:
                client, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor or no memory; nor would anything else be mended by trying again at once.
                self._pause()
                return
            client.setblocking(False)
            adoption = self._loop.create_task(self._adopt(client))
            self._adoptions.add(adoption)
            adoption.add_done_callback(self._adoptions.discard)

    async def _adopt(self, client: socket.socket) -> None:
        """Hand the socket to the event loop. A TLS handshake that fails is the client's affair."""
        patience_s = None if self._tls is None else _HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                self._connect, client, ssl=self._tls, ssl_handshake_timeout=patience_s
            )
        except OSError:
            with suppress(OSError):
                client.close()
