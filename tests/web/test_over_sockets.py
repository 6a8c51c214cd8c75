"""The pages on a real port, behind the bridge, as SDKs and curl find them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, NotFoundError

from penstock.core.error_bodies import error_response
from penstock.wire.asgi import AsgiBridge
from penstock.wire.server import Server
from tests.web.visitor import OFFERED, Pages


@pytest.fixture
async def port() -> AsyncIterator[int]:
    bridge = AsgiBridge(Pages(own_prices=OFFERED).web().app)
    server = Server(bridge, refuse=lambda error, _path, request_id: error_response(error, "openai", request_id))
    await server.start("127.0.0.1", 0)
    yield server.port
    await server.drain(0)


async def test_openais_sdk_lists_models(port: int) -> None:
    async with AsyncOpenAI(api_key="ann", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:
        listed = [model.id async for model in client.models.list()]
        assert "openai/gpt-mini" in listed
        assert (await client.models.retrieve("gpt-mini")).owned_by == "openai"
        with pytest.raises(NotFoundError):
            await client.models.retrieve("nowhere")


async def test_anthropics_sdk_lists_models(port: int) -> None:
    async with AsyncAnthropic(api_key="ann", base_url=f"http://127.0.0.1:{port}", max_retries=0) as client:
        listed = [model.id async for model in client.models.list()]
    assert "anthropic/claude-haiku" in listed


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_over_a_socket(port: int, method: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"{method} /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.lower().count(b"content-length") == 1
    assert body.startswith(b"{") if method == "GET" else body == b""
