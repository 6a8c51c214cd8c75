from collections.abc import Sequence

import pytest

from penstock.core.errors import StoreUnavailable
from penstock.core.limits import Standing, Subject
from penstock.web.routes import CallersPage, OpenPage, pages
from tests.exchange import request
from tests.web.visitor import Answer, Pages, Sums, fetch

OPEN = ["/", "/healthz", "/readyz"]
CALLERS = ["/me", "/usage", "/v1/models", "/v1/models/openai/gpt-mini"]


def test_these_pages_and_no_others_answer_without_a_credential() -> None:
    web = Pages().web()
    assert [path for path in [*OPEN, *CALLERS] if not web.is_page(path)] == []
    table = pages(Pages().parts())
    assert [page.path for page in table if isinstance(page, OpenPage)] == OPEN
    assert [page.path for page in table if isinstance(page, CallersPage)] == [*CALLERS[:3], "/v1/models/{model:path}"]


@pytest.mark.parametrize("path", OPEN)
async def test_an_open_page_needs_no_credential(path: str) -> None:
    assert (await Pages().get(path, token=None)).status == 200


@pytest.mark.parametrize("path", CALLERS)
@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_callers_page_needs_a_good_credential(path: str, token: str | None) -> None:
    answer = await Pages().get(path, token=token)
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
    assert answer.header(b"www-authenticate") == b"Bearer"
    assert answer.header(b"x-request-id") == b"req-1"
    assert answer.header(b"content-type") == b"application/json"


async def test_an_error_is_said_in_anthropics_words_where_its_version_is_sent() -> None:
    answer = await Pages().get("/v1/models", token=None, anthropic_version="2026-10-21")
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("path", [*OPEN, *CALLERS])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_pages_are_only_read(path: str, method: str) -> None:
    answer = await Pages().get(path, method=method)
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")


async def test_head_has_the_headers_of_get() -> None:
    got, headed = await Pages().get("/healthz"), await Pages().get("/healthz", method="HEAD")
    assert (headed.status, headed.headers) == (got.status, got.headers)


@pytest.mark.parametrize(
    "path", ["/usage/", "//usage", "/v1/models2", "/v1", "/usage/x", "/Usage", "/v1/chat/completions", "/openai/models"]
)
async def test_other_paths_are_not_ours_and_never_redirected(path: str) -> None:
    web = Pages().web()
    assert not web.is_page(path)
    answer = await fetch(web, request(path=path, headers=[(b"authorization", b"Bearer ann")]))
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_route")


async def test_the_front_page_describes_itself_to_curl() -> None:
    answer = (await Pages().get("/", token=None)).json
    assert answer["service"] == "penstock"
    assert {"GET /usage", "GET /v1/models", "POST /v1/chat/completions"} <= answer["endpoints"].keys()


class BrokenSums(Sums):
    error: Exception = RuntimeError("prompt of a user")

    async def standings(self, subjects: Sequence[Subject], now_ms: int) -> Sequence[Standing]:
        raise self.error


async def test_a_store_that_does_not_answer_is_said() -> None:
    broken = BrokenSums()
    broken.error = StoreUnavailable("The database does not answer.", retry_after_s=5)
    answer = await Pages(sums=broken).get("/me")
    assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
    assert answer.header(b"retry-after") == b"5"


async def test_a_fault_of_ours_is_answered_without_its_message_and_reaches_the_log() -> None:
    answers: list[Answer] = []
    with pytest.raises(RuntimeError):
        await fetch(
            Pages(sums=BrokenSums()).web(), request(path="/me", headers=[(b"authorization", b"Bearer ann")]), answers
        )
    [answer] = answers
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert b"prompt" not in answer.body
