"""The end of a server: what it still answers, when it stops listening, and when it cuts (reliability.md A9)."""

import asyncio

import pytest

from penstock.core.call import Inbound, Reply
from tests.wire.raw_client import GET, Running, say, serving, settled, until


class Slow:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer = asyncio.Event()
        self.was_cancelled = False

    async def handle(self, _inbound: Inbound, reply: Reply) -> None:
        self.begun += 1
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        say(reply, b"done")


def draining(running: Running, grace_s: float, delay_s: float = 0.0) -> asyncio.Task[None]:
    return asyncio.ensure_future(running.server.drain(grace_s, delay_s=delay_s))


async def refuses(running: Running) -> bool:
    try:
        await running.connect()
    except ConnectionRefusedError:
        return True
    return False


async def test_a_server_without_work_ends_at_once() -> None:
    async with serving() as running:
        idle = await running.connect(GET)
        await idle.reply()
        await running.connect()
        await until(lambda: running.server.connections == 2)
        await running.server.drain(30)
        assert await idle.is_closed()
        assert await refuses(running)


async def test_what_is_under_way_is_finished_and_then_closed() -> None:
    slow = Slow()
    async with serving(slow.handle) as running:
        client = await running.connect(GET)
        await until(lambda: slow.begun)
        end = draining(running, 30)
        await settled()
        assert await refuses(running)
        running.pass_time(29)
        slow.may_answer.set()
        reply = await client.reply()
        assert (reply.body, reply.closes, await client.is_closed()) == (b"done", True, True)
        client.close()
        await end


async def test_a_head_that_has_begun_is_still_answered() -> None:
    async with serving() as running:
        client = await running.connect(GET[:10])
        await settled()
        draining(running, 30)
        await settled()
        client.send(GET[10:])
        reply = await client.reply()
        assert (reply.status, reply.closes) == (200, True)


async def test_it_listens_on_for_the_delay_and_every_answer_closes() -> None:
    async with serving() as running:
        kept = await running.connect(GET)
        assert not (await kept.reply()).closes
        end = draining(running, 30, delay_s=5)
        await settled()
        running.pass_time(4.9)
        kept.send(GET)
        assert (await kept.reply()).closes
        new = await running.connect(GET)
        assert (await new.reply()).closes
        running.pass_time(0.2)
        await settled()
        assert await refuses(running)
        kept.close()
        new.close()
        await end


async def test_what_exceeds_the_grace_is_told_to_end_then_cancelled_and_cut() -> None:
    slow, words = Slow(), []
    async with serving(slow.handle) as running:
        client = await running.connect(GET)
        await until(lambda: slow.begun)
        end = asyncio.ensure_future(running.server.drain(30, last_words=lambda: words.append("end")))
        await settled()
        running.pass_time(29.9)
        assert words == []
        running.pass_time(0.2)
        running.pass_time(1)
        assert (words, slow.was_cancelled) == (["end"], False)
        running.pass_time(1.1)
        reply = await client.reply()
        assert (reply.status, reply.body, reply.closes) == (503, b"shutting_down /a", True)
        assert slow.was_cancelled
        running.pass_time(1)
        await end


async def test_a_second_call_shortens_the_grace() -> None:
    slow = Slow()
    async with serving(slow.handle) as running:
        await running.connect(GET)
        await until(lambda: slow.begun)
        ends = [draining(running, 30)]
        await settled()
        ends.append(draining(running, 5))
        await settled()
        running.pass_time(5)
        running.pass_time(2)
        running.pass_time(1)
        await asyncio.gather(*ends)
    assert slow.was_cancelled


async def test_a_handler_that_works_on_without_its_client_is_waited_for() -> None:
    slow = Slow()
    async with serving(slow.handle) as running:
        client = await running.connect(GET)
        await until(lambda: slow.begun)
        client.reset()
        await until(lambda: not running.server.connections)
        end = draining(running, 30)
        await settled()
        assert not end.done()
        slow.may_answer.set()
        await end
    assert not slow.was_cancelled


async def test_a_server_has_no_port_before_its_start() -> None:
    async with serving() as running:
        with pytest.raises(RuntimeError):
            type(running.server)(Slow().handle, refuse=running.server._service.refuse).port  # noqa: B018 # it raises
