"""A provider that does exactly what a test says, byte by byte, on a raw socket.

A script is an async function of one Visit: it reads what came and writes whatever it likes, valid HTTP or not. The
upstream counts its visits: a call that was refused must not have made one.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Visit:
    """One request as it arrived, and the connection to answer on."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    def reset(self) -> None:
        """Cut the connection without a word."""
        self.writer.transport.abort()


Script = Callable[[Visit], Awaitable[None]]


@dataclass(slots=True)
class ScriptedUpstream:
    """``visits`` are the requests so far; ``script`` answers each of them."""

    script: Script
    visits: list[Visit] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                visit = Visit(head, b"", writer)
                visit.body = await reader.readexactly(int(visit.header("content-length") or 0))
                self.visits.append(visit)
                await self.script(visit)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()


def answer(body: bytes, *, status: int = 200, content_type: str = "application/json", headers: str = "") -> bytes:
    """A whole HTTP answer with its length."""
    return (
        f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode()
        + body
    )


def stream_head(content_type: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def events(*values: object, done: bool = True) -> list[bytes]:
    """Values as OpenAI-style events, with ``[DONE]`` behind them."""
    frames = [b"data: " + json.dumps(value).encode() + b"\n\n" for value in values]
    return [*frames, b"data: [DONE]\n\n"] if done else frames


def chunked(frames: Iterable[bytes]) -> bytes:
    return b"".join(chunk(frame) for frame in frames) + LAST_CHUNK


def chat_answer(
    *, prompt: int = 10, completion: int = 5, model: str = "priced", text: str = "Hello"
) -> dict[str, object]:
    """A chat completion as OpenAI writes it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }


def chat_chunk(
    text: str = "", *, finish: str | None = None, usage: object = None, model: str = "priced"
) -> dict[str, object]:
    """A chunk of a streamed chat completion; with ``usage`` and without text it is the usage chunk."""
    choices = [] if usage is not None else [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model, "choices": choices, "usage": usage}


def usage(prompt: int = 10, completion: int = 5) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
