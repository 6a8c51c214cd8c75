"""An ASGI app's start and stop (ASGI 3.0, lifespan protocol 2.0): one long call of the app, beside its requests."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class Lifespan:
    """``start`` and ``stop`` end when the app says so. ``state`` is what it left for its requests."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self.state: dict[str, object] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._was_started = False
        # A word when it has started, one when it has stopped, and one when it returns; None where all is well.
        self._said: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def start(self) -> None:
        """Raises what the app raises, or RuntimeError with the reason that it gives."""
        self._task = asyncio.create_task(self._run())
        _raise(await self._said.get())

    async def stop(self) -> None:
        """The same. An app that has no lifespan has returned long ago."""
        if self._task is not None:
            self._stopping.set()
            await self._task
        while not self._said.empty():
            _raise(self._said.get_nowait())

    async def _run(self) -> None:
        scope: Message = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as exc:  # noqa: BLE001 # handed over: whoever waits for the next word gets it
            self._said.put_nowait(exc)
        else:
            self._said.put_nowait(None)

    async def _receive(self) -> Message:
        if not self._was_started:
            self._was_started = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = str(message["type"])
        self._said.put_nowait(RuntimeError(f"{kind}: {message.get('message')}") if kind.endswith(".failed") else None)


def _raise(failure: Exception | None) -> None:
    if failure is not None:
        raise failure
