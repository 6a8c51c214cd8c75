"""WHO on the command line: a person by e-mail, or a key by its kid or its id, as the gateway would see them."""

from dataclasses import dataclass

from penstock.auth.api_key import principal_of
from penstock.cli.output import CommandError
from penstock.cli.workplace import Workplace
from penstock.core.identity import KEY_PREFIX, KeyRecord, is_well_formed, key_kid
from penstock.core.limits import Policy, Subject, match_policy
from penstock.store.accounts import PersonRecord


@dataclass(frozen=True, slots=True)
class Caller:
    """``label`` is what WHO stands for; ``subject`` is the name under which the ledger has its calls.

    ``subjects`` are all whose limits apply: a person's key stands within its person.
    """

    label: str
    policy: Policy
    subject: str
    subjects: tuple[Subject, ...]


def get_caller(workplace: Workplace, who: str) -> Caller:
    """Raises CommandError if there is nobody of that name."""
    return person_caller(workplace, who) if "@" in who else key_caller(workplace, who)


def person_caller(workplace: Workplace, email: str) -> Caller:
    """Raises CommandError if there is no such person."""
    person = workplace.stores.accounts.find_person(email)
    if person is None:
        raise CommandError(f"there is no person {email}; see `penstock people list`")
    policy = policy_of(workplace, person)
    subject = Subject(f"person:{person.id}", policy.limits)
    return Caller(person.email, policy, subject.name, (subject,))


def key_caller(workplace: Workplace, text: str) -> Caller:
    """Raises CommandError if there is no such key."""
    key = get_key(workplace, text)
    principal = principal_of(key, workplace.policies)
    return Caller(key.kid, principal.policy, f"key:{key.id}", principal.subjects)


def policy_of(workplace: Workplace, person: PersonRecord) -> Policy:
    """The policy that counts for a person now."""
    return match_policy(person.email, person.policy, workplace.policies)


def get_key(workplace: Workplace, text: str) -> KeyRecord:
    """A key by its kid, its id, or itself. Raises CommandError if there is none; a key is never repeated."""
    accounts = workplace.stores.accounts
    found = accounts.find_key(key_kid(text) if is_well_formed(text) else text)
    if found is None:
        found = next((key for key in accounts.keys() if str(key.id) == text), None)  # noqa: SIM118 - it is no dict
    if found is None:
        name = "like that" if text.startswith(KEY_PREFIX) else text
        raise CommandError(f"there is no key {name}; see `penstock keys list`")
    return found
