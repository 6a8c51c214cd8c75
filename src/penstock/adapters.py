"""What the store offers, in the shapes that authenticators and pages ask for: asynchronous, and in their own words."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from penstock.core.errors import StoreUnavailable
from penstock.core.identity import KeyRecord, Role
from penstock.core.limits import Policy, Standing, Subject, match_policy
from penstock.store.accounts import Accounts
from penstock.store.usage import UsageQueries, by_day, by_model, standings
from penstock.web.usage_api import DaySpent, ModelSpent

POLICIES_MS = 1000


class AccountsReader:
    """Accounts read in threads. Policies are read again once a second: that is how late a change may be seen.

    ``policies`` are those of the settings, ``admins`` the e-mails whose keys are an admin's by the settings' word.
    """

    def __init__(
        self, accounts: Accounts, policies: Sequence[Policy], admins: Collection[str], clock: Callable[[], int]
    ) -> None:
        self._accounts = accounts
        self._from_settings = tuple(policies)
        self._admins = frozenset(admins)
        self._clock = clock
        self._policies: tuple[Policy, ...] = ()
        self._read_at_ms = -POLICIES_MS

    async def find_key(self, kid: str) -> KeyRecord | None:
        """Raises StoreUnavailable. Policies are brought up to date on the way, as whoever asks needs both."""
        return await asyncio.to_thread(self._find_key, kid)

    def policies(self) -> tuple[Policy, ...]:
        """Those of the settings first: on a tie the file beats the database."""
        return self._policies

    async def find_subject(self, email: str) -> Subject | None:
        """The subject as which a person's calls count, with the limits of the policy that matches."""
        return await asyncio.to_thread(self._find_subject, email)

    def _find_key(self, kid: str) -> KeyRecord | None:
        with _readable():
            self._refresh()
            record = self._accounts.find_key(kid)
        is_admin = record is not None and record.email in self._admins
        return replace(record, role=Role.ADMIN) if record is not None and is_admin else record

    def _find_subject(self, email: str) -> Subject | None:
        with _readable():
            self._refresh()
            person = self._accounts.find_person(email)
        if person is None:
            return None
        policy = match_policy(person.email, person.policy, self._policies)
        return Subject(f"person:{person.id}", policy.limits)

    def _refresh(self) -> None:
        now_ms = self._clock()
        if now_ms - self._read_at_ms >= POLICIES_MS:
            self._policies = (*self._from_settings, *self._accounts.policies())
            self._read_at_ms = now_ms


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as exc:
        raise StoreUnavailable("The accounts cannot be read.", retry_after_s=5) from exc


class UsageReader:
    """The pages' view of the ledger's sums."""

    def __init__(self, queries: UsageQueries) -> None:
        self._queries = queries

    async def by_day(self, subject: str, first_day: str, last_day: str) -> Sequence[DaySpent]:
        """The days with calls, in order."""
        days = await self._queries.run(lambda connection: by_day(connection, subject, first_day, last_day))
        return [DaySpent(day.day, day.cost, day.calls) for day in days]

    async def by_model(self, subject: str, first_day: str, last_day: str) -> Sequence[ModelSpent]:
        """The models that were called, the dearest first."""
        sums = await self._queries.run(lambda connection: by_model(connection, subject, first_day, last_day))
        return [
            ModelSpent(f"{each.provider}/{each.model}", each.cost, each.calls, each.tokens_in, each.tokens_out)
            for each in sums
        ]

    async def standings(self, subjects: Sequence[Subject], now_ms: int) -> Sequence[Standing]:
        """Where the subjects stand against each of their limits."""
        return await self._queries.run(lambda connection: standings(connection, subjects, now_ms))
