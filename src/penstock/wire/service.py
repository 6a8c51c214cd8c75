"""What the connections of one server share: who answers, within which limits, and what all of them hold together.

Values only; Server and Connection act on them. Seconds are the loop's clock (monotonic), never the wall's.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from penstock.core.call import Inbound, Reply
from penstock.core.errors import GatewayError
from penstock.core.headers import Header
from penstock.wire.body import Memory
from penstock.wire.peer import GuardRules

READ_BYTES = 64 * 1024

Handler = Callable[[Inbound, Reply], Awaitable[None]]
# Status, headers and body of a refusal, from the error, the raw path (as far as it was read) and the request id.
Refuse = Callable[[GatewayError, str, str], tuple[int, Sequence[Header], bytes]]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Numbers of connections and bytes, and how long a client may take, in seconds (reliability.md A2 to A5).

    ``surplus_connections`` more are let in to be told that there are too many; the rest waits in the kernel's queue.
    A body has ``body_s`` and another second for each ``body_bytes_per_s`` received. ``stall_s``: nothing of what was
    written was taken. ``linger_s``: how long a client may take to hang up once all has been said.
    """

    connections: int = 10_000
    body_bytes_held: int = 512 * 1024 * 1024
    surplus_connections: int = 256
    head_s: float = 10.0
    body_s: float = 30.0
    body_bytes_per_s: int = 64 * 1024
    idle_s: float = 75.0
    stall_s: float = 60.0
    linger_s: float = 2.0


class Client(Protocol):
    """What the server does to its connections."""

    def sweep(self, now_s: float) -> None: ...

    def close_if_idle(self) -> None: ...

    def cut(self) -> None: ...


def _request_ids() -> Iterator[str]:
    prefix = secrets.token_hex(6)
    return (f"req-{prefix}-{number:x}" for number in count(1))


@dataclass(slots=True)
class Service:
    """``now_s`` is the loop's clock. ``buffer`` is where every connection reads, as none keeps it beyond its turn.

    ``date_line`` is the Date header of this second. ``on_left`` is called when a connection or a task is gone.
    """

    handler: Handler
    refuse: Refuse
    limits: ServerLimits
    rules: GuardRules
    now_s: Callable[[], float]
    on_left: Callable[[], None]
    memory: Memory = field(init=False)
    buffer: memoryview = field(init=False)
    date_line: bytes = b""
    is_draining: bool = False
    connections: set[Client] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    request_ids: Iterator[str] = field(default_factory=_request_ids)

    def __post_init__(self) -> None:
        self.memory = Memory(self.limits.body_bytes_held)
        self.buffer = memoryview(bytearray(READ_BYTES))

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run it as a task; the loop itself would keep only a weak reference to one."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.on_left()
