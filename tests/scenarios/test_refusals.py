"""What is refused before money is set aside: the status and code of money.md, in the dialect, zero bytes upstream."""

import json
from pathlib import Path

import pytest

from penstock.core.identity import KeyType, mint_key
from penstock.core.limits import Policy
from penstock.store.accounts import NewKey
from tests.scenarios.raw_client import Answer, RawClient
from tests.scenarios.rig import PERSON, Rig, add_key, chat_body, rig
from tests.scenarios.scripted import ScriptedUpstream, Visit, answer, chat_answer


async def answers(visit: Visit) -> None:
    await visit.send(answer(json.dumps(chat_answer()).encode()))


CHAT = "/lab/chat/completions"
MESSAGES = "/claude/messages"
MESSAGE = {"model": "priced", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
DEEP = b'{"model":"priced","messages":' + b"[" * 100 + b"]" * 100 + b"}"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        pytest.param(CHAT, chat_body(model="unknown"), 400, "model_unpriced", id="unpriced"),
        pytest.param(CHAT, b"{nonsense", 400, "invalid_json", id="bad JSON"),
        pytest.param(CHAT, b"", 400, "invalid_json", id="no body"),
        pytest.param(CHAT, DEEP, 400, "invalid_json", id="too deep"),
        pytest.param(CHAT, b'{"model":"priced","model":"unknown"}', 400, "invalid_json", id="two models"),
        pytest.param(
            CHAT, b'{"model":"priced","mod\\u0065l":"x"}', 400, "invalid_json", id="two models, one disguised"
        ),
        pytest.param(CHAT, [], 400, "invalid_request", id="not an object"),
        pytest.param(CHAT, chat_body(n="many"), 400, "invalid_request", id="wrong type"),
        pytest.param(
            CHAT, chat_body(max_tokens=1, max_completion_tokens=9), 400, "invalid_request", id="two different caps"
        ),
        pytest.param("/lab/completions", {"model": "priced-x", "prompt": "x"}, 400, "unbounded", id="no bound"),
        pytest.param("/lab/files", {}, 403, "endpoint_not_allowed", id="endpoint without a bound"),
        pytest.param("/nowhere/chat/completions", {}, 404, "unknown_route", id="unknown provider"),
        pytest.param("/v1/nothing", {}, 404, "unknown_route", id="unknown unified route"),
        pytest.param(
            "/v1/chat/completions", chat_body(model="lab/unknown"), 400, "model_unpriced", id="unified unpriced"
        ),
        pytest.param("/v1/chat/completions", chat_body(model="gone"), 404, "model_not_found", id="no such model"),
        pytest.param(
            "/v1/chat/completions", chat_body(model="claude/priced"), 404, "model_not_found", id="other dialect"
        ),
        pytest.param(MESSAGES, b"{", 400, "invalid_json", id="Anthropic: bad JSON"),
        pytest.param(MESSAGES, {**MESSAGE, "model": "unknown"}, 400, "model_unpriced", id="Anthropic: unpriced"),
        pytest.param(MESSAGES, {"model": "priced"}, 400, "invalid_request", id="Anthropic: no max_tokens"),
    ],
)
async def test_a_bad_request_never_goes_upstream(
    tmp_path: Path, path: str, body: object, status: int, code: str
) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(path, body)
        assert (got.status, got.code) == (status, code)
        assert got.headers["access-control-allow-origin"] == "*"
        if path == MESSAGES:
            assert got.json["type"] == "error"
        assert not upstream.visits
        assert not await rigged.entries()


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/models", "/usage"])
async def test_every_bad_credential_gets_the_same_answer(tmp_path: Path, path: str) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        good, accounts = rigged.key, rigged.stores.accounts
        disabled, record = accounts.create_key(NewKey(email=PERSON))
        accounts.set_key_enabled(record.kid, is_enabled=False)
        expired = add_key(rigged, expires_at_ms=rigged.clock())
        bad = [disabled, expired, mint_key(KeyType.API), good[:-1] + ("0" if good[-1] != "0" else "1"), "sk-other", ""]
        bodies = set()
        for key in bad:
            rigged.key = key
            got = await rigged.post(path, MESSAGE) if path in (CHAT, MESSAGES) else await get(rigged, path)
            assert got.status == 401
            assert got.headers["www-authenticate"] == "Bearer"
            bodies.add(json.dumps(without_id(got), sort_keys=True))
        assert len(bodies) == 1
        assert not upstream.visits


async def test_a_policy_decides_about_models_and_endpoints(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        accounts = rigged.stores.accounts
        accounts.save_policy(Policy("narrow", models=("lab/other",)))
        accounts.save_policy(Policy("chatless", endpoints=("models",)))
        for policy, code in (("narrow", "model_not_allowed"), ("chatless", "endpoint_not_allowed")):
            rigged.key, _ = accounts.create_key(NewKey(policy=policy))
            got = await rigged.chat()
            assert (got.status, got.code) == (403, code)
        rigged.key = add_key(rigged, models=("lab/other",))
        assert (await rigged.chat()).code == "model_not_allowed"
        assert not upstream.visits


async def test_an_admin_by_the_settings_sees_others_and_a_member_does_not(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        assert (await get(rigged, "/usage?email=root@example.com")).status == 403
        rigged.key, _ = rigged.stores.accounts.create_key(NewKey(email="root@example.com"))
        seen = await get(rigged, f"/usage?email={PERSON}")
        assert (seen.status, seen.json["email"]) == (200, PERSON)


async def test_a_huge_body_is_refused_by_its_announcement(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            headers = {"content-length": str(64 * 1024 * 1024), "expect": "100-continue"}
            await client.post(CHAT, b"", rigged.with_key(headers))
            got = await client.read_answer()
        assert (got.status, got.code) == (413, "body_too_large")
        assert not upstream.visits


async def test_a_body_of_another_type_and_a_call_that_comes_round_again_are_refused(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        typed = await rigged.post(CHAT, b"model=x", content_type="application/x-www-form-urlencoded")
        looped = await rigged.post(CHAT, chat_body(), via="1.1 penstock")
        assert (typed.status, looped.status) == (415, 508)
        assert not upstream.visits


async def test_the_provider_sees_its_own_key_and_nothing_of_the_caller(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        extra = {"x_api_key": rigged.key, "cookie": "a=b", "x_forwarded_for": "203.0.113.9", "user_agent": "me/1"}
        got = await rigged.post(CHAT, chat_body(), **extra)
        assert got.status == 200
        (visit,) = upstream.visits
        assert visit.header("authorization") == "Bearer UPSTREAM-SECRET-KEY"
        assert visit.header("user-agent") == "me/1"
        assert visit.header("accept-encoding") == "identity"
        assert rigged.key.encode() not in visit.head
        assert not any(visit.header(name) for name in ("cookie", "x-api-key", "x-forwarded-for"))
        assert visit.header("host") == f"127.0.0.1:{upstream.port}"


async def test_a_preflight_is_answered_on_any_path_without_a_key(tmp_path: Path) -> None:
    async with ScriptedUpstream(answers) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            asked = (
                "access-control-request-headers: authorization,x-anything\r\naccess-control-request-method: POST\r\n"
            )
            await client.send(f"OPTIONS /any/where HTTP/1.1\r\nhost: a\r\norigin: https://x\r\n{asked}\r\n".encode())
            got = await client.read_head()
        assert got.status == 204
        assert got.headers["access-control-allow-headers"] == "authorization,x-anything"
        assert got.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in got.headers
        assert not upstream.visits


async def test_listings_answer_over_budget_but_not_at_a_limit_of_zero(tmp_path: Path) -> None:
    async def lists(visit: Visit) -> None:
        await visit.send(answer(b'{"object": "list", "data": []}'))

    for limit, status in (("0.000001 usd", 200), ("0 usd", 429)):
        (tmp_path / limit).mkdir()
        async with ScriptedUpstream(lists) as upstream, rig(tmp_path / limit, upstream.port, [limit]) as rigged:
            got = await get(rigged, "/lab/models")
            assert got.status == status
            assert [entry.basis for entry in await rigged.entries()] == ["provider"] * (status == 200)


async def get(rigged: Rig, path: str) -> Answer:
    async with RawClient(rigged.port) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in rigged.with_key({}).items())
        await client.send(f"GET {path} HTTP/1.1\r\nhost: gateway.test\r\n{lines}\r\n".encode())
        return await client.read_answer()


def without_id(got: Answer) -> object:
    error = got.json["error"]
    assert isinstance(error, dict)
    return {name: value for name, value in error.items() if name != "request_id"}
