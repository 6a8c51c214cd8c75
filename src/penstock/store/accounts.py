"""People, keys and policies: who may call. Every change is one transaction; a key itself is never stored.

Methods are synchronous and quick; whoever serves calls runs them in a thread. Times are epoch milliseconds, e-mails
lower case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, Select, Table, func, insert, select, update

from penstock.core.identity import KeyRecord, KeyType, Role, key_digest, key_kid, mint_key
from penstock.core.limits import ADMIN_POLICY, Limit, Policy, parse_limit
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.schema import api_key, person, policy

EMAIL_LENGTH_MAX = 254
FIRST_POLICY = Policy(name="default", match=("*",), limits=(parse_limit("1 usd / day"),))
"""What the first start writes where no policy is known at all: people are in, and cannot spend much."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person; ``policy`` is the one given by name, None where the e-mail decides."""

    id: int
    email: str
    role: Role
    policy: str | None
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made with. ``email`` makes it a person's; else ``policy`` says what it may do."""

    name: str = ""
    email: str | None = None
    policy: str | None = None
    role: Role = Role.MEMBER
    limits: tuple[Limit, ...] = ()
    models: tuple[str, ...] = ("*",)
    expires_at_ms: int | None = None


FIRST_KEY = NewKey(name="first admin", policy=ADMIN_POLICY.name, role=Role.ADMIN)


class Accounts:
    """The accounts of a database; ``clock`` is the wall clock, ``pepper`` the secret under which keys are kept."""

    def __init__(self, database: Database, clock: Callable[[], int], pepper: bytes) -> None:
        self._database = database
        self._clock = clock
        self._pepper = pepper

    def create_key(self, new: NewKey) -> tuple[str, KeyRecord]:
        """A new key, shown here and never again, and its record. The person is made if there is none yet."""
        with self._database.writing() as connection:
            return self._create_key(connection, new)

    def find_key(self, kid: str) -> KeyRecord | None:
        """A key by its public part, whether or not it may still be used."""
        with self._database.reading() as connection:
            row = connection.execute(_KEYS.where(api_key.c.kid == kid)).one_or_none()
        return None if row is None else _key_record(row)

    def keys(self, email: str | None = None) -> list[KeyRecord]:
        """All keys, the newest first; of one person where an e-mail is given."""
        query = _KEYS.order_by(api_key.c.id.desc())
        if email is not None:
            query = query.where(person.c.email == email.lower())
        with self._database.reading() as connection:
            return [_key_record(row) for row in connection.execute(query)]

    def set_key_enabled(self, kid: str, *, is_enabled: bool) -> None:
        """Let a key be used or not, within a second. Raises StoreError if there is none."""
        change = update(api_key).where(api_key.c.kid == kid).values(is_enabled=is_enabled)
        with self._database.writing() as connection:
            if not connection.execute(change).rowcount:
                raise StoreError(f"there is no key {kid}")

    def find_person(self, email: str) -> PersonRecord | None:
        with self._database.reading() as connection:
            row = connection.execute(_PEOPLE.where(person.c.email == email.lower())).one_or_none()
        return None if row is None else _person_record(row)

    def people(self) -> list[PersonRecord]:
        """Everybody, by e-mail."""
        with self._database.reading() as connection:
            return [_person_record(row) for row in connection.execute(_PEOPLE.order_by(person.c.email))]

    def set_person(
        self, email: str, *, role: Role | None = None, policy_name: str | None = None, is_enabled: bool | None = None
    ) -> PersonRecord:
        """Change what is not None, and make the person if there is none. An empty policy name takes the name away."""
        given = {"role": role and role.value, "is_enabled": is_enabled}
        changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if policy_name is not None:
            changes["policy"] = policy_name or None
        with self._database.writing() as connection:
            record = _find_or_make_person(connection, email, self._clock())
            if changes:
                connection.execute(update(person).where(person.c.id == record.id).values(changes))
            return _person_record(connection.execute(_PEOPLE.where(person.c.id == record.id)).one())

    def policies(self) -> tuple[Policy, ...]:
        """The policies that live in the database, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(policy.c.name, policy.c.content).order_by(policy.c.name))
            return tuple(_policy(name, content) for name, content in rows)

    def save_policy(self, new: Policy) -> None:
        """Keep a policy under its name, in place of one that has it."""
        with self._database.writing() as connection:
            _save_policy(connection, new)

    def start_first_time(self, *, has_policies: bool) -> str | None:
        """The first admin's key, and a first policy where there is none at all; None if there was a start before."""
        with self._database.writing() as connection:
            if not has_policies and not _count(connection, policy):
                _save_policy(connection, FIRST_POLICY)
            if _count(connection, api_key):
                return None
            token, _ = self._create_key(connection, FIRST_KEY)
        return token

    def _create_key(self, connection: Connection, new: NewKey) -> tuple[str, KeyRecord]:
        token = mint_key(KeyType.ADMIN if new.role is Role.ADMIN else KeyType.API)
        kid = key_kid(token)
        owner = None if new.email is None else _find_or_make_person(connection, new.email, self._clock())
        row = {
            "kid": kid,
            "digest": key_digest(self._pepper, token),
            "name": new.name or (new.email or kid),
            "role": new.role.value,
            "person_id": None if owner is None else owner.id,
            "policy": new.policy,
            "limits": _encode([str(limit) for limit in new.limits]),
            "models": _encode(new.models),
            "is_enabled": True,
            "expires_at_ms": new.expires_at_ms,
            "created_ms": self._clock(),
        }
        connection.execute(insert(api_key).values(row))
        return token, _key_record(connection.execute(_KEYS.where(api_key.c.kid == kid)).one())


def has_keys(database: Database) -> bool:
    """Whether anybody was ever given a key here."""
    with database.reading() as connection:
        return connection.execute(select(api_key.c.id).limit(1)).first() is not None


_KEYS = select(
    api_key, person.c.email, person.c.policy.label("person_policy"), person.c.is_enabled.label("person_is_enabled")
).select_from(api_key.outerjoin(person, api_key.c.person_id == person.c.id))
_PEOPLE: Select[tuple[int, str, str, str | None, bool]] = select(
    person.c.id, person.c.email, person.c.role, person.c.policy, person.c.is_enabled
)


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _save_policy(connection: Connection, new: Policy) -> None:
    content = _policy_content(new)
    changed = connection.execute(update(policy).where(policy.c.name == new.name).values(content=content))
    if not changed.rowcount:
        connection.execute(insert(policy).values(name=new.name, content=content))


def _find_or_make_person(connection: Connection, email: str, now_ms: int) -> PersonRecord:
    email = email.strip().lower()
    if "@" not in email.strip("@") or len(email) > EMAIL_LENGTH_MAX:
        raise StoreError(f"not an e-mail address: {email!r}")
    query = _PEOPLE.where(person.c.email == email)
    row = connection.execute(query).one_or_none()
    if row is None:
        new = {"email": email, "role": Role.MEMBER.value, "policy": None, "is_enabled": True, "created_ms": now_ms}
        connection.execute(insert(person).values(new))
        row = connection.execute(query).one()
    return _person_record(row)


def _person_record(row: Row[tuple[int, str, str, str | None, bool]]) -> PersonRecord:
    return PersonRecord(row.id, row.email, Role(row.role), row.policy, row.is_enabled)


def _key_record(row: Row[tuple[object, ...]]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        kid=row.kid,
        digest=bytes(row.digest),
        name=row.name,
        role=Role(row.role),
        person_id=row.person_id,
        email=row.email,
        policy=row.policy,
        person_policy=row.person_policy,
        # A key is worth as much as its person.
        is_enabled=row.is_enabled and row.person_is_enabled is not False,
        expires_at_ms=row.expires_at_ms,
        limits=tuple(parse_limit(text) for text in msgspec.json.decode(row.limits)),
        models=tuple(msgspec.json.decode(row.models)),
    )


class _PolicyContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A policy as the database keeps it: limits as an admin writes them."""

    match: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    providers: tuple[str, ...] = ("*",)
    endpoints: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)
    output_cap: int = ADMIN_POLICY.output_cap
    lower_caps: bool = False
    unbounded: str = "hold"
    cost_comment: bool = True


def _policy(name: str, content: str) -> Policy:
    kept = msgspec.structs.asdict(msgspec.json.decode(content, type=_PolicyContent))
    return Policy(name=name, **{**kept, "limits": tuple(parse_limit(text) for text in kept["limits"])})


def _policy_content(value: Policy) -> str:
    kept = {field: getattr(value, field) for field in _PolicyContent.__struct_fields__}
    return _encode(_PolicyContent(**{**kept, "limits": tuple(str(limit) for limit in value.limits)}))


def _encode(value: Sequence[str] | _PolicyContent) -> str:
    return msgspec.json.encode(value).decode()
