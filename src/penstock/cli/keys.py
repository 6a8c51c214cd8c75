"""``penstock keys``: a key is shown when it is made, and never again."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import typer

from penstock.auth.api_key import principal_of
from penstock.cli.callers import get_key
from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import number, print_json, print_line, print_note, print_table, text
from penstock.cli.wording import listed, moment
from penstock.cli.workplace import Workplace, opened
from penstock.core.identity import KeyRecord, Role
from penstock.core.limits import ADMIN_POLICY, NOTHING_POLICY, Limit, Policy, parse_limit
from penstock.core.refusals import iso_time
from penstock.core.windows import DAY_MS
from penstock.store.accounts import NewKey

app = typer.Typer(no_args_is_help=True, help="Make, list and disable keys.")
NAME_LENGTH_MAX = 100
_SPAN = re.compile(r"([1-9]\d{0,4})([hd])")
_SPAN_MS = {"h": 3_600_000, "d": DAY_MS}


def read_limit(written: str) -> Limit:
    """A limit as the value of an option."""
    try:
        return parse_limit(written)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def read_name(written: str) -> str:
    """A key's name as the value of an option."""
    if len(written) > NAME_LENGTH_MAX:
        raise typer.BadParameter(f"longer than {NAME_LENGTH_MAX} signs")
    return written


def read_expiry(written: str, now_ms: int) -> int:
    """``30d`` or ``12h`` from now, or the end of a UTC day such as ``2027-01-31``; epoch milliseconds.

    Raises typer.BadParameter for what is no time, or is over.
    """
    if span := _SPAN.fullmatch(written):
        return now_ms + int(span[1]) * _SPAN_MS[span[2]]
    try:
        end = datetime.combine(date.fromisoformat(written) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(
            f"not a time: {written!r}; write 30d, 12h, or a date such as 2027-01-31", param_hint="--expires"
        ) from exc
    expires_at_ms = int(end.timestamp()) * 1000
    if expires_at_ms <= now_ms:
        raise typer.BadParameter(f"{written} is over", param_hint="--expires")
    return expires_at_ms


@app.command()
def create(  # noqa: PLR0913 - a command's options are its parameters
    *,
    name: Annotated[str, typer.Option(parser=read_name, metavar="NAME", help="What the key is for.")] = "",
    email: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Whose it is: it stands within their limits.")
    ] = None,
    policy: Annotated[str | None, typer.Option(metavar="POLICY", help="What a key that is nobody's may do.")] = None,
    limit: Annotated[
        list[Limit] | None,
        typer.Option(parser=read_limit, metavar="LIMIT", help="A limit of its own, '1 usd / day'; repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="A model that it may call, 'openai/*'; repeatable.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="30d|DATE", help="Until when it is good.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="An admin's key; by itself, it may do everything.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    if email is not None and policy is not None:
        raise typer.BadParameter("a person's policy is set with `penstock people set`", param_hint="--policy")
    with opened(config) as workplace:
        if policy is not None:
            workplace.check_policy(policy)
        new = NewKey(
            name=name,
            email=email,
            policy=ADMIN_POLICY.name if admin and email is None and policy is None else policy,
            role=Role.ADMIN if admin else Role.MEMBER,
            limits=tuple(limit or ()),
            models=tuple(model or ("*",)),
            expires_at_ms=None if expires is None else read_expiry(expires, workplace.now_ms),
        )
        token, record = workplace.stores.accounts.create_key(new)
    if as_json:
        print_json({"key": token})
        return
    print_line(token)
    print_note(_introduction(record, principal_of(record, workplace.policies).policy))


@app.command("list")
def list_keys(
    *,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="Those of one person.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, the newest first; never the keys themselves."""
    with opened(config) as workplace:
        records = workplace.stores.accounts.keys(email)
    if as_json:
        print_json([_json_row(record, workplace) for record in records])
        return
    titles = map(text, ("kid", "name", "whose", "role", "policy", "own limits", "models", "expires (UTC)", "state"))
    rows = [_row(record, workplace) for record in records]
    print_table([number("id"), *titles], rows, none="No keys yet: `penstock keys create --email EMAIL` makes one.")


@app.command()
def disable(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's kid or id, as the list shows them.")],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on; a running gateway does within a second."""
    with opened(config) as workplace:
        record = get_key(workplace, key)
        workplace.stores.accounts.set_key_enabled(record.kid, is_enabled=False)
    if as_json:
        print_json({"id": record.id, "kid": record.kid, "is_enabled": False})
    else:
        print_line(f"The key {record.kid} ({record.name}) is disabled.")


def _introduction(record: KeyRecord, policy: Policy) -> str:
    whose = f"A key of {record.email}" if record.email else "A key"
    if policy == NOTHING_POLICY:
        return f"{whose}, shown this once. No policy is for it, so it may spend nothing."
    return f"{whose}, shown this once. Its policy is {policy.name}: {listed(policy.limits, none='no limits')}."


def _row(record: KeyRecord, workplace: Workplace) -> list[str]:
    return [
        str(record.id),
        record.kid,
        record.name,
        record.email or "nobody's",
        record.role.value,
        principal_of(record, workplace.policies).policy.name,
        listed(record.limits),
        listed(record.models),
        moment(record.expires_at_ms),
        _state(record, workplace.now_ms),
    ]


def _state(record: KeyRecord, now_ms: int) -> str:
    if not record.is_enabled:
        return "disabled"
    return "expired" if record.expires_at_ms is not None and record.expires_at_ms <= now_ms else "good"


def _json_row(record: KeyRecord, workplace: Workplace) -> dict[str, object]:
    return {
        "id": record.id,
        "kid": record.kid,
        "name": record.name,
        "email": record.email,
        "role": record.role.value,
        "policy": principal_of(record, workplace.policies).policy.name,
        "limits": [str(limit) for limit in record.limits],
        "models": record.models,
        "expires_at": None if record.expires_at_ms is None else iso_time(record.expires_at_ms),
        "state": _state(record, workplace.now_ms),
    }
