"""``penstock people``: who is known by e-mail, and what they may do."""

from typing import Annotated

import typer

from penstock.cli.callers import policy_of
from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import number, print_json, print_table, text
from penstock.cli.workplace import Workplace, opened
from penstock.core.identity import Role
from penstock.store.accounts import PersonRecord

app = typer.Typer(no_args_is_help=True, help="List people, and say what they may do.")
_NONE = "Nobody yet: `penstock people set EMAIL` or `penstock keys create --email EMAIL` adds somebody."


@app.command("list")
def list_people(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List everybody, by e-mail, with the policy that counts for them."""
    with opened(config) as workplace:
        people = workplace.stores.accounts.people()
    if as_json:
        print_json([_json_row(person, workplace) for person in people])
    else:
        _print(people, workplace)


@app.command("set")
def set_person(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Who; a person that is not known yet is added.")],
    *,
    policy: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Their policy by name; '' for the one that matches the e-mail.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="What they may see and change.")] = None,
    is_enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether their keys are good; within a second.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, and leave the rest."""
    with opened(config) as workplace:
        if policy:
            workplace.check_policy(policy)
        changed = workplace.stores.accounts.set_person(email, role=role, policy_name=policy, is_enabled=is_enabled)
    if as_json:
        print_json(_json_row(changed, workplace))
    else:
        _print([changed], workplace)


def _print(people: list[PersonRecord], workplace: Workplace) -> None:
    columns = [number("id"), text("e-mail"), text("role"), text("policy"), text("state")]
    print_table(columns, [_row(person, workplace) for person in people], none=_NONE)


def _row(person: PersonRecord, workplace: Workplace) -> list[str]:
    policy = policy_of(workplace, person).name
    return [
        str(person.id),
        person.email,
        person.role.value,
        policy if person.policy is None else f"{policy} (by name)",
        "good" if person.is_enabled else "disabled",
    ]


def _json_row(person: PersonRecord, workplace: Workplace) -> dict[str, object]:
    return {
        "id": person.id,
        "email": person.email,
        "role": person.role.value,
        "policy": policy_of(workplace, person).name,
        "named_policy": person.policy,
        "is_enabled": person.is_enabled,
    }
