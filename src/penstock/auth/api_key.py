"""Keys of ours: ``sk-pen-...``. Most bad ones never reach the database, and none learns why it was refused.

The shape and the checksum are checked offline. What remains is looked up by the key's public part and compared in
constant time, against a dummy where there is no such key, so that neither the answer nor its time tells which keys
exist. A key that passed is believed for less than a second: a disabled one is refused within that (reliability.md 4.8).
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence

from penstock.auth.credentials import OURS, find_credential
from penstock.core.call import Inbound
from penstock.core.errors import Unauthenticated
from penstock.core.identity import KEY_PREFIX, KeyRecord, KeyType, Principal, is_well_formed, key_digest, key_kid
from penstock.core.limits import Policy, Subject, match_policy

TOKEN_BYTES_MAX = 512
CACHE_MS = 1000
_DUMMY_DIGEST = bytes(hashlib.sha256().digest_size)
# A web app's key needs its origin checked and a code is no key: both belong to their own authenticators.
_ACCEPTED_TYPES = frozenset({KeyType.API, KeyType.ADMIN})

FindKey = Callable[[str], Awaitable[KeyRecord | None]]


class KeyAuthenticator:
    """Turns a key into a Principal.

    ``peppers`` are the secrets under which digests may be stored, the current one first. ``find_key`` looks a key up
    by its kid. ``policies`` are those in force now. ``takes_url_key`` tells the requests in which ``?key=`` counts.
    """

    def __init__(
        self,
        peppers: Sequence[bytes],
        find_key: FindKey,
        policies: Callable[[], Sequence[Policy]],
        *,
        takes_url_key: Callable[[Inbound], bool] = lambda _: False,
        cached_keys_max: int = 10_000,
    ) -> None:
        self._peppers = tuple(peppers)
        self._find_key = find_key
        self._policies = policies
        self._takes_url_key = takes_url_key
        self._known = _KnownKeys(cached_keys_max)

    async def authenticate(self, inbound: Inbound, now_ms: int) -> Principal | None:
        """None if the credential is no key of ours; Unauthenticated if it is one and not good. See Authenticator."""
        raw = find_credential(inbound, with_url_key=self._takes_url_key(inbound))
        if raw is None or not raw.startswith(OURS):
            return None
        fingerprint = hashlib.sha256(raw).digest()
        principal = self._known.find(fingerprint, now_ms)
        if principal is None:
            principal = await self._look_up(_well_formed(raw))
            self._known.add(fingerprint, principal, now_ms)
        if principal.expires_at_ms is not None and principal.expires_at_ms <= now_ms:
            raise Unauthenticated
        return principal

    async def _look_up(self, token: str) -> Principal:
        record = await self._find_key(key_kid(token))
        stored = record.digest if record else _DUMMY_DIGEST
        # Every pepper is tried whatever the first one gives, so that the time says nothing.
        matches = [hmac.compare_digest(key_digest(pepper, token), stored) for pepper in self._peppers]
        if record is None or not any(matches) or not record.is_enabled:
            raise Unauthenticated
        return principal_of(record, self._policies())


def principal_of(record: KeyRecord, policies: Sequence[Policy]) -> Principal:
    """Who a good key stands for: a person, within whom the key has limits of its own, or the key by itself."""
    key = f"key:{record.id}"
    if record.person_id is None:
        policy = match_policy(None, record.policy, policies)
        subjects: tuple[Subject, ...] = (Subject(key, policy.limits + record.limits),)
    else:
        policy = match_policy(record.email, record.person_policy, policies)
        subjects = (Subject(f"person:{record.person_id}", policy.limits), Subject(key, record.limits))
    return Principal(
        key_id=record.id,
        key_name=record.name,
        role=record.role,
        person_id=record.person_id,
        email=record.email,
        policy=policy,
        subjects=subjects,
        key_models=record.models,
        expires_at_ms=record.expires_at_ms,
    )


class _KnownKeys:
    """Keys that were good less than CACHE_MS ago, by the digest of the whole token; the oldest leaves first."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._entries: dict[bytes, tuple[int, Principal]] = {}

    def find(self, fingerprint: bytes, now_ms: int) -> Principal | None:
        entry = self._entries.get(fingerprint)
        if entry is None or not 0 <= now_ms - entry[0] < CACHE_MS:
            return None
        return entry[1]

    def add(self, fingerprint: bytes, principal: Principal, looked_up_ms: int) -> None:
        self._entries.pop(fingerprint, None)
        if len(self._entries) >= self._size_max:
            del self._entries[next(iter(self._entries))]
        self._entries[fingerprint] = (looked_up_ms, principal)


def _well_formed(raw: bytes) -> str:
    if len(raw) > TOKEN_BYTES_MAX or not raw.isascii():
        raise Unauthenticated
    token = raw.decode("ascii")
    if token[len(KEY_PREFIX) : len(KEY_PREFIX) + 1] not in _ACCEPTED_TYPES or not is_well_formed(token):
        raise Unauthenticated
    return token
