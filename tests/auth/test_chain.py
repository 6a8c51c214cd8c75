from dataclasses import dataclass, field

import pytest

from penstock.auth import Chain
from penstock.core.call import Inbound
from penstock.core.errors import PlainHttpRefused, Unauthenticated
from penstock.core.identity import Principal, Role
from penstock.core.limits import ADMIN_POLICY, Subject
from tests.exchange import request

BEARER = [(b"authorization", b"Bearer of-some-kind")]


@dataclass
class Scripted:
    """An authenticator that answers what it was given, and remembers whether it was asked."""

    answer: Principal | Unauthenticated | None
    asked: list[int] = field(default_factory=list)

    async def authenticate(self, inbound: Inbound, now_ms: int) -> Principal | None:
        self.asked.append(now_ms)
        if isinstance(self.answer, Unauthenticated):
            raise self.answer
        return self.answer


def named(name: str) -> Principal:
    return Principal(1, name, Role.MEMBER, None, None, ADMIN_POLICY, (Subject("key:1"),))


async def test_the_first_who_knows_the_credential_answers() -> None:
    first, second, third = Scripted(None), Scripted(named("second")), Scripted(named("third"))
    assert (await Chain(first, second, third).authenticate(request(headers=BEARER), 5)).key_name == "second"
    assert (first.asked, third.asked) == ([5], [])


async def test_a_bad_credential_is_not_offered_to_the_next() -> None:
    later = Scripted(named("later"))
    with pytest.raises(Unauthenticated):
        await Chain(Scripted(Unauthenticated()), later).authenticate(request(headers=BEARER), 5)
    assert later.asked == []


async def test_nobodys_credential_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        await Chain(Scripted(None), Scripted(None)).authenticate(request(headers=BEARER), 5)
    with pytest.raises(Unauthenticated):
        await Chain().authenticate(request(), 5)


@pytest.mark.parametrize(
    "inbound",
    [
        request(headers=BEARER, is_confidential=False),
        request(headers=[(b"x-goog-api-key", b"x")], is_confidential=False),
        request(query="key=x", is_confidential=False),
    ],
    ids=["authorization", "x-goog-api-key", "url"],
)
async def test_a_credential_that_crossed_an_open_network_is_not_looked_up(inbound: Inbound) -> None:
    authenticator = Scripted(named("anybody"))
    with pytest.raises(PlainHttpRefused, match="allow_plain_http"):
        await Chain(authenticator).authenticate(inbound, 5)
    assert authenticator.asked == []


async def test_without_a_credential_an_open_network_is_no_reason() -> None:
    with pytest.raises(Unauthenticated):
        await Chain(Scripted(None)).authenticate(request(is_confidential=False), 5)
