"""A client that writes bytes on a socket and reads what comes back, as patient or rude as a test needs."""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Answer:
    """An answer as it came: header names in lower case, the body without its chunk framing."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def code(self) -> object:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error["code"]


@dataclass(slots=True)
class RawClient:
    """One connection to a port of this machine."""

    port: int
    _reader: asyncio.StreamReader = field(init=False)
    _writer: asyncio.StreamWriter = field(init=False)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave with a reset, so that the server knows at once: FIN alone may be half a close."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a POST, and do not wait for anything."""
        lines = {
            "host": "gateway.test",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def read_head(self) -> Answer:
        block = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split()[1]), headers, b"")

    async def read_chunk(self) -> bytes | None:
        """The next chunk of a chunked body; None behind the last one. Raises IncompleteReadError where it is cut."""
        size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2] if size else None

    async def read_answer(self) -> Answer:
        """A whole answer; ``is_whole`` is False where the connection ended before its framing said so."""
        answer = await self.read_head()
        try:
            if "content-length" in answer.headers:
                answer.body = await self._reader.readexactly(int(answer.headers["content-length"]))
            else:
                while (data := await self.read_chunk()) is not None:
                    answer.body += data
        except asyncio.IncompleteReadError:
            answer.is_whole = False
        return answer

    async def read_to_end(self) -> bytes:
        return await self._reader.read()
