"""The older gateways' own command lines, with only the host, the key and the provider's host changed (seeds/)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.clients.gateway import Gateway, Place
from tests.upstreams.llama import KEY, Llama

# The provider is OpenAI to whoever calls, with OpenAI's prices; only its host is another.
SETTINGS = """
[providers.openai]
base_url = "{url}"
api_key = "{key}"
"""
AI_PROXY_CHAT = """curl -X POST http://$HOST/openai/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $AIPROXY_TOKEN" \\
  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is 2 + 2"}]}'
"""
AI_PIPE_USAGE = 'curl http://$HOST/usage -H "Authorization: $AIPIPE_TOKEN"'


@pytest.fixture
async def gateway(tmp_path: Path, llama: Llama) -> AsyncIterator[Gateway]:
    needs.require_command("curl")
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(url=llama.base_url, key=KEY))
    async with Place(tmp_path).serving() as gateway:
        yield gateway


async def paste(command: str, gateway: Gateway, token_name: str) -> Any:
    """The JSON that the command line prints in a shell."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command),
        env={"PATH": "/usr/bin:/bin", "HOST": f"127.0.0.1:{gateway.port}", token_name: gateway.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # curl's progress
    )
    out, _ = await process.communicate()
    return json.loads(out)


async def test_their_command_lines_work_as_pasted(gateway: Gateway) -> None:
    answer = await paste(AI_PROXY_CHAT, gateway, "AIPROXY_TOKEN")
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["completion_tokens"] > 0

    usage = await paste(AI_PIPE_USAGE, gateway, "AIPIPE_TOKEN")
    assert {"budget", "days", "cost", "usage"} <= usage.keys()
    assert usage["cost"] > 0
    assert [day["cost"] for day in usage["usage"]] == [usage["cost"]]
