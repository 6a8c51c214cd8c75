"""The values that travel with a call, and the protocols of the parts it travels through.

Inbound is what a client sent, Outbound what goes to a provider, Hold what is set aside before it, Ending what becomes
of the hold, Call what listeners see afterwards. The protocols stand here because the server, the upstream client and
the ledger never import each other: they meet in ``app.py``.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from penstock.core.identity import Principal
from penstock.core.limits import Amounts, Standing, Subject, WorstCase
from penstock.core.provider import Origin, Timeouts
from penstock.core.usage import Usage

Header = tuple[bytes, bytes]

INBOUND_EXTENSION = "penstock.inbound"
"""Where the bridge to ASGI leaves the Inbound in a scope's extensions, as ASGI has no word for some of it."""


@dataclass(slots=True)
class Inbound:
    """A request whose head is complete and has passed the guard.

    ``path`` and ``query`` are the raw ASCII of the request line, escapes kept; header names are lower case and each has
    its own line. ``is_confidential`` says whether a credential may be read here: loopback, TLS, a trusted proxy, or
    ``allow_plain_http``. ``scheme`` is what the client spoke, to us or a trusted proxy. ``read_body(max)`` awaits the
    whole body, sends ``100 Continue`` where it was asked for, and raises BodyTooLarge, RequestTimeout, Overloaded, or
    BadRequest where it never became complete. ``received_s`` is the loop's clock.
    """

    method: str
    path: str
    query: str
    headers: Sequence[Header]
    client: str
    is_confidential: bool
    request_id: str
    received_s: float
    read_body: Callable[[int], Awaitable[bytes]]
    scheme: str = "http"

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class ReplyListener(Protocol):
    """Who writes a reply and wants to know how the client takes it."""

    def pause(self) -> None:
        """The client's buffer is full: stop writing until ``resume``."""

    def resume(self) -> None: ...

    def client_left(self) -> None:
        """Nothing more can be delivered. Called once at most, and never after ``end``."""


class Reply(Protocol):
    """Where an answer goes: a socket, or memory where a part of ours makes a call of its own.

    ``start`` once, then ``write`` any number of times, then ``end`` once; after ``client_left`` all three do nothing.
    ``length`` None means that the end is not known yet (chunked). ``abort`` cuts the connection, so that the client
    sees that the answer is incomplete.
    """

    @property
    def has_started(self) -> bool: ...

    @property
    def is_gone(self) -> bool: ...

    def attach(self, listener: ReplyListener) -> None: ...

    def start(self, status: int, headers: Sequence[Header], *, length: int | None) -> None: ...

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outbound:
    """A request to a provider. ``headers`` hold the provider's key; content-length and host are the sender's to add."""

    origin: Origin
    method: str
    target: str
    headers: Sequence[Header] = field(repr=False)
    body: bytes = field(repr=False)
    timeouts: Timeouts
    allow_private: bool


class FaultKind(StrEnum):
    """How an exchange with a provider failed (reliability.md 3.1)."""

    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    LOST = "lost"
    HEAD_TIMEOUT = "head_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    TRUNCATED = "truncated"
    BAD_FRAMING = "bad_framing"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Fault:
    """``was_sent``: the whole request left us, so the provider may bill it. ``detail`` is for the log, no secrets."""

    kind: FaultKind
    was_sent: bool
    detail: str = ""


class UpstreamFault(Exception):
    """Raised by ``Sender.send`` when the request could not be handed over at all."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.kind.value)
        self.fault = fault


class AnswerSink(Protocol):
    """Who receives a provider's answer, called from the event loop as bytes arrive."""

    def answer_started(self, status: int, headers: Sequence[Header]) -> None: ...

    def answer_data(self, data: bytes) -> None: ...

    def answer_ended(self, fault: Fault | None) -> None:
        """Exactly once, whatever happens; None after a complete answer."""


class Exchange(Protocol):
    """A request that is under way."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None:
        """Close the connection now; ``answer_ended`` follows with CANCELLED unless it was called already."""


class Sender(Protocol):
    async def send(self, outbound: Outbound, sink: AnswerSink) -> Exchange:
        """Hand the request to a connection. Raises UpstreamFault (and never calls the sink) if nothing was sent."""


class Basis(StrEnum):
    """How the amount of an entry was learned, best first (money.md, "What an answer costs")."""

    REPORTED_COST = "reported_cost"
    PROVIDER = "provider"
    PARTIAL = "partial"
    ESTIMATED = "estimated"
    WORST_CASE = "worst_case"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """What to set aside before a call. ``id`` is made by the caller, so that it can be ended whatever happens."""

    id: str
    request_id: str
    key_id: int | None
    person_id: int | None
    subjects: tuple[Subject, ...]
    provider: str
    model: str
    endpoint: str
    price_book: str
    worst: WorstCase


@dataclass(frozen=True, slots=True)
class Hold:
    """An acknowledged hold: durable before any byte goes upstream. ``standings`` are as seen before it was added."""

    id: str
    amounts: Amounts
    output_cap: int | None
    standings: tuple[Standing, ...]
    admitted_at_ms: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of a hold. ``cost`` is nano-USD; ``rates`` are the unit prices used, so that it can be recomputed.

    Basis VOID gives the money back; ``was_sent`` says whether the call still counts as a request. ``latency_ms`` runs
    to the end of the answer, ``first_byte_ms`` to its first byte.
    """

    basis: Basis
    cost: int
    usage: Usage
    was_sent: bool
    rates: Mapping[str, object] = field(default_factory=dict)
    reported_pico: int | None = None
    flags: tuple[str, ...] = ()
    status: int = 0
    latency_ms: int = 0
    first_byte_ms: int | None = None
    is_stream: bool = False
    bytes_out: int = 0
    input_bytes: int = 0
    traits: str = ""


class Ledger(Protocol):
    async def reserve(self, request: HoldRequest) -> Hold:
        """Set the worst case aside, durably. Raises LimitExceeded with the refusal's details, or StoreUnavailable."""

    def end(self, hold_id: str, ending: Ending) -> None:
        """Queue the ending behind the reservation of the same id; never waits. A second one does nothing."""


class Authenticator(Protocol):
    async def authenticate(self, inbound: Inbound, now_ms: int) -> Principal | None:
        """Who calls; None: not my kind of credential. Raises Unauthenticated: mine, and bad."""


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call as the listeners of ``on_settled`` see it: no body, no secret."""

    request_id: str
    hold_id: str
    caller: str
    key_id: int | None
    provider: str
    model: str
    endpoint: str
    client: str
    ending: Ending
    upstream_request_id: str | None = None
    error: str | None = None
