from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from penstock.core.identity import KeyType, Role, is_well_formed, key_digest, key_kid
from penstock.core.limits import Policy, match_policy, parse_limit
from penstock.store.accounts import FIRST_POLICY, Accounts, NewKey, has_keys
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.schema import api_key, policy
from tests.store.calls import NOON, Clock

PEPPER = b"p" * 32
EMAIL = "ada@example.com"


@pytest.fixture
def accounts(database: Database, clock: Clock) -> Accounts:
    return Accounts(database, clock, PEPPER)


def test_a_key_is_shown_once_and_only_its_digest_is_kept(database: Database, accounts: Accounts) -> None:
    token, record = accounts.create_key(NewKey(name="laptop", email=EMAIL))
    assert is_well_formed(token)
    assert record == accounts.find_key(key_kid(token))
    assert record.digest == key_digest(PEPPER, token)
    with database.reading() as connection:
        stored = connection.execute(select(api_key)).one()
    assert token not in str(stored)
    assert token[18:60] not in str(stored)


def test_a_key_keeps_what_it_was_made_with(accounts: Accounts) -> None:
    limits = (parse_limit("1.5 usd / 7 days"), parse_limit("5 concurrent"), parse_limit("100 requests / 15 minutes"))
    new = NewKey("bot", None, "robots", Role.VIEWER, limits, ("openai/*",), NOON + 1)
    _, record = accounts.create_key(new)
    kept = (record.name, record.email, record.policy, record.role, record.limits, record.models, record.expires_at_ms)
    assert kept == ("bot", None, "robots", Role.VIEWER, limits, ("openai/*",), NOON + 1)
    assert record.person_id is None


def test_an_unknown_key_is_none(accounts: Accounts) -> None:
    assert accounts.find_key("0123456789") is None


def test_keys_are_listed_the_newest_first_and_by_person(accounts: Accounts) -> None:
    for name, email in (("one", EMAIL), ("two", None), ("three", EMAIL)):
        accounts.create_key(NewKey(name=name, email=email))
    everybodys = accounts.keys()
    assert [key.name for key in everybodys] == ["three", "two", "one"]
    assert [key.name for key in accounts.keys("ADA@example.com")] == ["three", "one"]
    assert accounts.keys("nobody@example.com") == []


def test_a_key_can_be_switched_off_and_on(accounts: Accounts) -> None:
    _, record = accounts.create_key(NewKey())
    for is_enabled in (False, True):
        accounts.set_key_enabled(record.kid, is_enabled=is_enabled)
        found = accounts.find_key(record.kid)
        assert found is not None
        assert found.is_enabled is is_enabled
    with pytest.raises(StoreError, match="no key"):
        accounts.set_key_enabled("0123456789", is_enabled=False)


def test_a_key_is_worth_as_much_as_its_person(accounts: Accounts) -> None:
    _, record = accounts.create_key(NewKey(email=EMAIL))
    accounts.set_person(EMAIL, is_enabled=False, policy_name="staff")
    found = accounts.find_key(record.kid)
    assert found is not None
    assert (found.is_enabled, found.person_policy, found.email) == (False, "staff", EMAIL)


def test_people_are_one_whatever_the_case_of_their_address(accounts: Accounts) -> None:
    accounts.create_key(NewKey(email=" Ada@Example.com"))
    changed = accounts.set_person("ADA@EXAMPLE.COM", role=Role.ADMIN, policy_name="staff")
    assert accounts.people() == [changed]
    assert (changed.email, changed.role, changed.policy) == (EMAIL, Role.ADMIN, "staff")
    assert accounts.find_person("aDa@example.com") == changed
    assert accounts.find_person("nobody@example.com") is None


def test_what_is_not_given_is_not_changed_and_an_empty_policy_takes_the_name_away(accounts: Accounts) -> None:
    accounts.set_person(EMAIL, role=Role.ADMIN, policy_name="staff")
    assert accounts.set_person(EMAIL).role is Role.ADMIN
    assert accounts.set_person(EMAIL, policy_name="").policy is None


@pytest.mark.parametrize("email", ["", "ada", "@example.com", "ada@", "a" * 250 + "@b.cd"])
def test_what_is_no_address_is_nobody(accounts: Accounts, email: str) -> None:
    with pytest.raises(StoreError, match="not an e-mail"):
        accounts.set_person(email)


def test_a_policy_comes_back_as_it_was_saved(accounts: Accounts) -> None:
    saved = Policy(
        name="staff",
        match=("@example.com", "boss@example.org"),
        limits=tuple(map(parse_limit, ["0.10 usd / 7 days", "20 usd", "0 usd / month", "200000 tokens / minute"])),
        providers=("openai",),
        endpoints=("chat.*",),
        models=("openai/gpt-*",),
        output_cap=99,
        lower_caps=True,
        unbounded="refuse",
        cost_comment=False,
    )
    accounts.save_policy(Policy(name="staff"))
    accounts.save_policy(saved)
    accounts.save_policy(Policy(name="all"))
    assert accounts.policies() == (Policy(name="all"), saved)


def test_the_first_start_makes_an_admin_and_a_policy_for_everybody(accounts: Accounts) -> None:
    token = accounts.start_first_time(has_policies=False)
    assert token is not None
    assert token.startswith(f"sk-pen-{KeyType.ADMIN.value}")
    record = accounts.find_key(key_kid(token))
    assert record is not None
    assert (record.role, record.policy) == (Role.ADMIN, "admin")
    assert accounts.policies() == (FIRST_POLICY,)
    matched = match_policy("any@body.org", None, accounts.policies())
    assert [str(limit) for limit in matched.limits] == ["1 usd / day"]


def test_a_later_start_makes_nothing(accounts: Accounts) -> None:
    accounts.start_first_time(has_policies=False)
    assert accounts.start_first_time(has_policies=False) is None
    assert len(accounts.keys()) == len(accounts.policies()) == 1


def test_where_the_settings_have_a_policy_none_is_made(database: Database, accounts: Accounts) -> None:
    assert accounts.start_first_time(has_policies=True) is not None
    with database.reading() as connection:
        assert connection.execute(select(policy)).all() == []


def test_of_several_first_starts_one_makes_the_admin(accounts: Accounts) -> None:
    with ThreadPoolExecutor(4) as threads:
        tokens = list(threads.map(lambda _: accounts.start_first_time(has_policies=False), range(4)))
    assert sum(token is not None for token in tokens) == 1
    assert len(accounts.keys()) == 1


def test_a_first_start_is_known_by_its_keys(accounts: Accounts) -> None:
    assert not has_keys(accounts._database)
    accounts.create_key(NewKey())
    assert has_keys(accounts._database)
