from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from penstock.auth.api_key import CACHE_MS, KeyAuthenticator, principal_of
from penstock.core.call import Authenticator, Header
from penstock.core.errors import StoreUnavailable, Unauthenticated
from penstock.core.identity import (
    KeyRecord,
    KeyType,
    Principal,
    Role,
    is_well_formed,
    key_digest,
    key_kid,
    mint_key,
)
from penstock.core.limits import ADMIN_POLICY, NOTHING_POLICY, Policy, Subject, parse_limit
from tests.auth.contract import NOW_MS, AuthenticatorContract
from tests.exchange import request

PEPPER, OLD_PEPPER = b"p" * 32, b"o" * 32
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY = mint_key(KeyType.API)
DAILY = (parse_limit("1 usd / day"),)
EVERYONE = Policy("everyone", match=("*",), limits=DAILY)


@dataclass
class KeyTable:
    """The store's keys in memory; remembers which kids were looked up."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    policies: Sequence[Policy] = (EVERYONE,)

    def add(self, token: str, *, pepper: bytes = PEPPER, number: int = 7) -> KeyRecord:
        record = KeyRecord(
            id=number,
            kid=key_kid(token),
            digest=key_digest(pepper, token),
            name="laptop",
            role=Role.MEMBER,
            person_id=12,
            email="ann@example.com",
            policy=None,
            person_policy=None,
            is_enabled=True,
            expires_at_ms=None,
        )
        self.records[record.kid] = record
        return record

    def change(self, token: str, **changes: object) -> None:
        self.records[key_kid(token)] = replace(self.records[key_kid(token)], **changes)  # type: ignore[arg-type] # any field

    async def find(self, kid: str) -> KeyRecord | None:
        self.asked.append(kid)
        return self.records.get(kid)

    def authenticator(self, *peppers: bytes) -> KeyAuthenticator:
        return KeyAuthenticator(peppers or (PEPPER,), self.find, lambda: self.policies)


@pytest.fixture
def table() -> KeyTable:
    table = KeyTable()
    table.add(KEY)
    return table


def bearer(token: str | bytes) -> list[Header]:
    raw = token.encode() if isinstance(token, str) else token
    return [(b"authorization", b"Bearer " + raw)]


async def login(authenticator: Authenticator, token: str | bytes = KEY, now_ms: int = NOW_MS) -> Principal | None:
    return await authenticator.authenticate(request(headers=bearer(token)), now_ms)


class TestContract(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self, table: KeyTable) -> Authenticator:
        return table.authenticator()

    @pytest.fixture
    def good(self) -> list[Header]:
        return bearer(KEY)

    @pytest.fixture
    def bad(self) -> list[Header]:
        return bearer(mint_key(KeyType.API))


def edits_of(token: str) -> set[str]:
    """Every substitution, deletion, insertion and swap of neighbours that leaves the prefix as it is."""
    start = len("sk-pen-")
    edits: set[str] = set()
    for at in range(start, len(token) + 1):
        head, tail = token[:at], token[at:]
        edits.update(head + letter + tail for letter in ALPHABET)
        edits.update(head + letter + tail[1:] for letter in ALPHABET + "-_ ")
        edits.add(head + tail[1:])
        edits.add(head + tail[1:2] + tail[:1] + tail[2:])
    return edits - {token}


def test_every_mistyped_key_is_recognised_offline() -> None:
    edits = edits_of(KEY)
    assert len(edits) > 7000
    assert [edit for edit in edits if is_well_formed(edit)] == []


SECRET = KEY[len("sk-pen-k") :]
ATTACKS: dict[str, bytes] = {
    "prefix only": b"sk-pen-",
    "prefix and type": b"sk-pen-k",
    "empty secret": b"sk-pen-k0000000000000000",
    "all zeros": b"sk-pen-k" + b"0" * 59,
    "one too short": KEY[:-1].encode(),
    "one too long": KEY.encode() + b"0",
    "twice": KEY.encode() * 2,
    "two, comma": f"{KEY},{KEY}".encode(),
    "two, space": f"{KEY} {KEY}".encode(),
    "comma behind": KEY.encode() + b",",
    "semicolon behind": KEY.encode() + b";x",
    "newline behind": KEY.encode() + b"\n",
    "CRLF behind": KEY.encode() + b"\r\nx-admin: 1",
    "NUL behind": KEY.encode() + b"\x00",
    "NUL and garbage behind": KEY.encode() + b"\x00x",
    "NUL in front of the secret": b"sk-pen-k\x00" + SECRET.encode(),
    "no-break space behind": KEY.encode() + b"\xa0",
    "UTF-8 no-break space behind": KEY.encode() + "\u00a0".encode(),
    "zero-width space inside": KEY[:30].encode() + "\u200b".encode() + KEY[30:].encode(),
    "full-width digits": b"sk-pen-k" + "\uff11".encode() * 59,
    "Arabic digits": b"sk-pen-k" + "\u0661".encode() * 59,
    "Latin-1 letters": b"sk-pen-k" + b"\xe9" * 59,
    "Cyrillic a": b"sk-pen-k" + "\u0430".encode() + SECRET[1:].encode(),
    "invalid UTF-8": b"sk-pen-k\xff\xfe" + SECRET[2:].encode(),
    "combining accent": KEY.encode() + "\u0301".encode(),
    "byte order mark": b"sk-pen-\xef\xbb\xbf" + KEY[7:].encode(),
    "upper case": b"sk-pen-" + KEY[7:].upper().encode(),
    "lower case": b"sk-pen-" + KEY[7:].lower().encode(),
    "admin's letter": KEY.replace("sk-pen-k", "sk-pen-a").encode(),
    "web app's letter": KEY.replace("sk-pen-k", "sk-pen-w").encode(),
    "unknown letter": KEY.replace("sk-pen-k", "sk-pen-z").encode(),
    "upper-case letter": KEY.replace("sk-pen-k", "sk-pen-K").encode(),
    "no letter": KEY.replace("sk-pen-k", "sk-pen-").encode(),
    "quoted": b'sk-pen-"' + KEY[7:].encode() + b'"',
    "percent-escaped": b"sk-pen-%6b" + SECRET.encode(),
    "SQL": b"sk-pen-k' OR '1'='1" + b"-" * 40,
    "SQL comment": b"sk-pen-k0000000000';--" + b"0" * 46,
    "LIKE wildcards": b"sk-pen-k" + b"%" * 59,
    "underscores": b"sk-pen-k" + b"_" * 59,
    "path": b"sk-pen-k../../../../etc/passwd" + b"0" * 37,
    "template": b"sk-pen-k{{7*7}}${7*7}" + b"0" * 46,
    "hyphens": b"sk-pen-k" + b"-" * 59,
    "reversed secret": b"sk-pen-k" + SECRET[::-1].encode(),
    "checksum of another": KEY[:-6].encode() + mint_key(KeyType.API)[-6:].encode(),
    "kid of another": b"sk-pen-k" + mint_key(KeyType.API)[8:18].encode() + KEY[18:].encode(),
    "512 bytes": KEY.encode().ljust(512, b"0"),
    "513 bytes": KEY.encode().ljust(513, b"0"),
    "30 KiB": KEY.encode().ljust(30 * 1024, b"0"),
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS)
async def test_a_forged_key_is_refused_without_a_look_at_the_store(table: KeyTable, token: bytes) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await login(table.authenticator(), token)
    assert table.asked == []
    assert str(caught.value) == str(Unauthenticated())


@pytest.mark.parametrize("kind", [KeyType.WEB, KeyType.CODE])
async def test_a_key_that_is_not_for_calls_is_refused_without_a_look_at_the_store(kind: KeyType) -> None:
    table, token = KeyTable(), mint_key(kind)
    table.add(token)
    with pytest.raises(Unauthenticated):
        await login(table.authenticator(), token)
    assert table.asked == []


async def test_an_admins_key_is_taken() -> None:
    table, token = KeyTable(), mint_key(KeyType.ADMIN)
    table.add(token)
    assert await login(table.authenticator(), token) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"Basic " + b64encode(b"ann:" + KEY.encode()),
        b"Basic " + b64encode(KEY.encode() + b":"),
        b"basic " + b64encode(b":" + KEY.encode()),
        KEY.encode(),
        b"bearer " + KEY.encode(),
    ],
)
async def test_a_key_is_taken_in_every_form_of_authorization(table: KeyTable, value: bytes) -> None:
    principal = await table.authenticator().authenticate(request(headers=[(b"authorization", value)]), NOW_MS)
    assert principal is not None


async def test_a_key_in_the_url_is_taken_only_where_the_route_reads_it(table: KeyTable) -> None:
    asking = request(path="/gemini/v1beta/models", query=f"key={KEY}")
    assert await table.authenticator().authenticate(asking, NOW_MS) is None
    reads_url = KeyAuthenticator(
        [PEPPER], table.find, lambda: (), takes_url_key=lambda i: i.path.startswith("/gemini/")
    )
    assert await reads_url.authenticate(asking, NOW_MS) is not None


async def test_all_refusals_read_alike(table: KeyTable) -> None:
    disabled, expired, unknown, guessed = (mint_key(KeyType.API) for _ in range(4))
    for number, token in enumerate((disabled, expired, guessed)):
        table.add(token, number=number)
    table.change(disabled, is_enabled=False)
    table.change(expired, expires_at_ms=NOW_MS)
    table.change(guessed, digest=key_digest(PEPPER, KEY))
    messages = set()
    for token in (disabled, expired, unknown, guessed, "sk-pen-nonsense"):
        with pytest.raises(Unauthenticated) as caught:
            await login(table.authenticator(), token)
        messages.add((caught.value.message, caught.value.code, str(caught.value.details)))
    assert len(messages) == 1


async def test_a_key_is_good_until_the_very_millisecond_at_which_it_expires(table: KeyTable) -> None:
    table.change(KEY, expires_at_ms=NOW_MS + 10)
    authenticator = table.authenticator()
    assert await login(authenticator, now_ms=NOW_MS + 9) is not None
    with pytest.raises(Unauthenticated):
        await login(authenticator, now_ms=NOW_MS + 10)


async def test_a_digest_under_an_older_pepper_still_counts() -> None:
    table = KeyTable()
    table.add(KEY, pepper=OLD_PEPPER)
    assert await login(table.authenticator(PEPPER, OLD_PEPPER)) is not None
    with pytest.raises(Unauthenticated):
        await login(table.authenticator(PEPPER))


async def test_the_dummy_digest_opens_nothing(table: KeyTable) -> None:
    table.change(KEY, digest=bytes(32))
    with pytest.raises(Unauthenticated):
        await login(table.authenticator())


async def test_within_a_second_the_store_is_asked_once(table: KeyTable) -> None:
    authenticator = table.authenticator()
    for later_ms in (0, 1, CACHE_MS - 1):
        await login(authenticator, now_ms=NOW_MS + later_ms)
    assert len(table.asked) == 1
    await login(authenticator, now_ms=NOW_MS + CACHE_MS)
    assert len(table.asked) == 2


async def test_a_remembered_key_is_found_without_suspending(table: KeyTable) -> None:
    authenticator = table.authenticator()
    await login(authenticator)
    with pytest.raises(StopIteration) as finished:
        login(authenticator).send(None)
    assert isinstance(finished.value.value, Principal)


async def test_a_disabled_key_is_refused_a_second_later(table: KeyTable) -> None:
    authenticator = table.authenticator()
    await login(authenticator)
    table.change(KEY, is_enabled=False)
    with pytest.raises(Unauthenticated):
        await login(authenticator, now_ms=NOW_MS + CACHE_MS)


async def test_a_remembered_key_still_expires_on_time(table: KeyTable) -> None:
    table.change(KEY, expires_at_ms=NOW_MS + 500)
    authenticator = table.authenticator()
    await login(authenticator)
    with pytest.raises(Unauthenticated):
        await login(authenticator, now_ms=NOW_MS + 500)


async def test_a_clock_that_runs_backwards_asks_the_store_again(table: KeyTable) -> None:
    authenticator = table.authenticator()
    await login(authenticator)
    await login(authenticator, now_ms=NOW_MS - 1)
    assert len(table.asked) == 2


async def test_what_shares_a_beginning_with_a_remembered_key_is_not_taken_for_it(table: KeyTable) -> None:
    authenticator = table.authenticator()
    await login(authenticator)
    for other in (KEY[:-1], KEY + "0", KEY[:20] + mint_key(KeyType.API)[20:]):
        with pytest.raises(Unauthenticated):
            await login(authenticator, other)


async def test_refusals_are_not_remembered(table: KeyTable) -> None:
    authenticator, late = table.authenticator(), mint_key(KeyType.API)
    with pytest.raises(Unauthenticated):
        await login(authenticator, late)
    table.add(late, number=8)
    assert await login(authenticator, late) is not None


async def test_the_memory_of_keys_is_bounded_and_loses_the_oldest_first() -> None:
    table, tokens = KeyTable(), [mint_key(KeyType.API) for _ in range(3)]
    for number, token in enumerate(tokens):
        table.add(token, number=number)
    authenticator = KeyAuthenticator([PEPPER], table.find, lambda: (), cached_keys_max=2)
    for token in tokens:
        await login(authenticator, token)
    await login(authenticator, tokens[2])
    await login(authenticator, tokens[1])
    assert len(table.asked) == 3
    await login(authenticator, tokens[0])
    assert len(table.asked) == 4


async def test_a_store_that_cannot_answer_is_no_refusal() -> None:
    async def unavailable(kid: str) -> KeyRecord | None:
        raise StoreUnavailable("The database does not answer.")

    with pytest.raises(StoreUnavailable):
        await login(KeyAuthenticator([PEPPER], unavailable, lambda: ()))


def test_a_persons_key_counts_for_the_person_and_within_its_own_limits() -> None:
    own = (parse_limit("0.10 usd / day"),)
    record = replace(KeyTable().add(KEY), limits=own, models=("openai/*",), expires_at_ms=99)
    principal = principal_of(record, [EVERYONE])
    assert principal.subjects == (Subject("person:12", DAILY), Subject("key:7", own))
    assert (principal.policy, principal.key_models, principal.expires_at_ms) == (EVERYONE, ("openai/*",), 99)
    assert (principal.label, principal.person_id, principal.role) == ("ann@example.com", 12, Role.MEMBER)


def test_a_key_without_a_person_counts_for_itself() -> None:
    own = (parse_limit("5 concurrent"),)
    robots = Policy("robots", limits=DAILY)
    record = replace(KeyTable().add(KEY), person_id=None, email=None, policy="robots", limits=own)
    principal = principal_of(record, [EVERYONE, robots])
    assert principal.subjects == (Subject("key:7", DAILY + own),)
    assert (principal.policy, principal.label) == (robots, "laptop")


@pytest.mark.parametrize(
    ("person", "named", "policy"),
    [
        (None, None, NOTHING_POLICY),
        (None, "admin", ADMIN_POLICY),
        (None, "gone", NOTHING_POLICY),
        (12, None, EVERYONE),
        (12, "admin", ADMIN_POLICY),
    ],
)
def test_the_policy_is_the_persons_or_the_one_that_a_lone_key_names(
    person: int | None, named: str | None, policy: Policy
) -> None:
    record = KeyTable().add(KEY)
    if person is None:
        record = replace(record, person_id=None, email=None, policy=named)
    else:
        record = replace(record, policy="robots", person_policy=named)
    assert principal_of(record, [EVERYONE]).policy is policy
