"""What every way to say who you are must do, whatever the credential is: one suite for all authenticators."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.call import Authenticator, Header
from penstock.core.errors import BadRequest, Unauthenticated
from tests.exchange import request

NOW_MS = 1_795_000_000_000


class AuthenticatorContract:
    """Subclasses give three fixtures: an authenticator, headers that are good, and headers that are its own but bad."""

    async def test_names_the_caller_of_a_good_credential(
        self, authenticator: Authenticator, good: list[Header]
    ) -> None:
        principal = await authenticator.authenticate(request(headers=good), NOW_MS)
        assert principal is not None
        assert principal.subjects

    async def test_leaves_a_request_without_credential_to_the_next(self, authenticator: Authenticator) -> None:
        assert await authenticator.authenticate(request(), NOW_MS) is None

    @pytest.mark.parametrize("value", [b"Bearer null", b"Bearer ", b"Basic !!!", b"Digest username=x", b"\xff\xfe"])
    async def test_leaves_a_foreign_credential_to_the_next(self, authenticator: Authenticator, value: bytes) -> None:
        assert await authenticator.authenticate(request(headers=[(b"authorization", value)]), NOW_MS) is None

    async def test_refuses_its_own_kind_that_is_bad(self, authenticator: Authenticator, bad: list[Header]) -> None:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(request(headers=bad), NOW_MS)

    async def test_gives_the_same_answer_twice(self, authenticator: Authenticator, good: list[Header]) -> None:
        first = await authenticator.authenticate(request(headers=good), NOW_MS)
        assert await authenticator.authenticate(request(headers=good), NOW_MS + 1) == first

    async def test_does_not_remember_a_good_credential_for_a_bad_one(
        self, authenticator: Authenticator, good: list[Header], bad: list[Header]
    ) -> None:
        await authenticator.authenticate(request(headers=good), NOW_MS)
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(request(headers=bad), NOW_MS)

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(value=st.binary(max_size=200))
    async def test_never_fails_in_another_way(self, authenticator: Authenticator, value: bytes) -> None:
        for header in ((b"authorization", value), (b"authorization", b"Bearer sk-pen-" + value), (b"x-api-key", value)):
            with suppress(Unauthenticated, BadRequest):
                assert await authenticator.authenticate(request(headers=[header]), NOW_MS) is None
