"""One request and one reply in memory: what a handler gets from the server, without a socket."""

from collections.abc import Sequence

from penstock.core.call import Header, Inbound, ReplyListener
from penstock.core.errors import BodyTooLarge


def request(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Sequence[Header] = (),
    *,
    body: bytes = b"",
    is_confidential: bool = True,
) -> Inbound:
    async def read_body(body_bytes_max: int) -> bytes:
        if len(body) > body_bytes_max:
            raise BodyTooLarge(f"The body is larger than {body_bytes_max} bytes.")
        return body

    return Inbound(
        method=method,
        path=path,
        query=query,
        headers=[(b"host", b"gateway.test"), *headers],
        client="192.0.2.7",
        is_confidential=is_confidential,
        request_id="req-1",
        received_s=0.0,
        read_body=read_body,
    )


class MemoryReply:
    """Keeps what was written, one item for each write, and lets a test play the client that slows down or leaves."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[Header] = []
        self.length: int | None = None
        self.writes: list[bytes] = []
        self.has_ended = False
        self.was_aborted = False
        self.is_gone = False
        self.listener: ReplyListener | None = None

    @property
    def has_started(self) -> bool:
        return self.status is not None

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def attach(self, listener: ReplyListener) -> None:
        self.listener = listener

    def start(self, status: int, headers: Sequence[Header], *, length: int | None) -> None:
        assert not self.has_started
        self.status, self.headers, self.length = status, list(headers), length

    def write(self, data: bytes) -> None:
        assert self.has_started
        assert not self.has_ended
        if not self.is_gone:
            self.writes.append(data)

    def end(self) -> None:
        assert self.has_started
        assert not self.has_ended
        self.has_ended = True
        assert self.length is None or self.is_gone or len(self.body) == self.length

    def abort(self) -> None:
        self.was_aborted = True

    def leave(self) -> None:
        self.is_gone = True
        if self.listener is not None:
            self.listener.client_left()
