"""Every key of the settings as it is written: its type, its default, and in words what is allowed.

The words complete the sentence "KEY must be ..." of an error message. What a value means beyond its type (a limit, a
network, an address) is read in ``resolve.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from penstock.core.limits import CAP_MIN, Policy
from penstock.core.provider import Timeouts

Key = tuple[str, ...]

_MIB = 1 << 20
_TIMEOUTS = Timeouts()
_POLICY = Policy(name="")

Text = Annotated[str, Meta(min_length=1, description="a text")]
FilePath = Annotated[str, Meta(min_length=1, description="a path")]
Listen = Annotated[str, Meta(description="HOST:PORT, such as 127.0.0.1:8787 or [::]:8787")]
Url = Annotated[str, Meta(description="an http or https URL without user, query and fragment")]
DatabaseUrl = Annotated[str, Meta(pattern=r"^sqlite:///.", description="sqlite:///PATH")]
Demo = Annotated[Literal["auto", "on", "off"], Meta(description='"auto", "on" or "off"')]
Unbounded = Annotated[Literal["hold", "refuse"], Meta(description='"hold" or "refuse"')]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], Meta(description='"debug", "info", "warning" or "error"')
]
Emails = Annotated[tuple[str, ...], Meta(description="a list of e-mail addresses")]
Callers = Annotated[tuple[str, ...], Meta(description='a list of exact e-mail addresses, "@domain", or "*"')]
Limits = Annotated[tuple[str, ...], Meta(description='a list of limits, such as "2 usd / month" or "20 concurrent"')]
Globs = Annotated[tuple[str, ...], Meta(min_length=1, description="a list of at least one name or glob")]
Networks = Annotated[tuple[str, ...], Meta(description='a list of addresses or networks, such as "10.0.0.0/8"')]
Hosts = Annotated[tuple[str, ...], Meta(description="a list of host names or addresses, without ports")]
Switch = Annotated[bool, Meta(description="true or false")]
Bytes = Annotated[int, Meta(ge=1, description="a number of bytes, at least 1")]
Count = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]
Tokens = Annotated[int, Meta(ge=CAP_MIN, description=f"a number of tokens, at least {CAP_MIN}")]
Seconds = Annotated[float, Meta(ge=0, description="a number of seconds, at least 0")]
Timeout = Annotated[float, Meta(gt=0, description="a number of seconds above 0")]


class SettingsError(Exception):
    """What an admin must change before penstock can start; names the place, the key, and what is allowed there."""


class SourceKind(StrEnum):
    DEFAULT = "default"
    FILE = "file"
    DOTENV = ".env"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value was found; ``name`` is the file's or the variable's."""

    kind: SourceKind
    name: str = ""

    def __str__(self) -> str:
        match self.kind:
            case SourceKind.DEFAULT:
                return "default"
            case SourceKind.FILE:
                return self.name
        return f"{self.name} ({self.kind.value})"


@dataclass(frozen=True, slots=True)
class Found:
    """A value as it stood somewhere; a text out of a variable (``is_text``) is still to be read as its key's type."""

    key: Key
    value: object
    source: Source
    is_text: bool = False

    def error(self, message: str) -> SettingsError:
        return SettingsError(f"{self.source}: {dotted(self.key)} {message}")


class PriceRow(Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of the models that a glob matches, in USD per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class ModelRow(Struct, frozen=True, forbid_unknown_fields=True):
    """What the models that a glob matches can do, in tokens."""

    context: Count | None = None
    output_max: Count | None = None
    reasoning: bool | None = None


Prices = Annotated[
    Literal["free"] | dict[str, PriceRow] | None,
    Meta(
        description='"free", or a table of model globs, each with input and output and, where they differ, cache_read '
        "and cache_write, in usd per million tokens"
    ),
]
Models = Annotated[
    dict[str, ModelRow],
    Meta(description="a table of model globs, each with context, output_max (tokens) or reasoning (true or false)"),
]


class ProviderSection(Struct, frozen=True, kw_only=True):
    """``[providers.NAME]``. None stands for what the provider, or its dialect, has of its own."""

    dialect: Text | None = None
    base_url: Url | None = None
    api_key: Text | None = None
    api_key_file: FilePath | None = None
    prices: Prices = None
    models: Models = {}
    allow_private: Switch | None = None
    asks_usage: Switch | None = None
    cancels_billing: Switch | None = None
    head_timeout_s: Timeout = _TIMEOUTS.head_s
    idle_timeout_s: Timeout = _TIMEOUTS.idle_s
    total_timeout_s: Timeout = _TIMEOUTS.total_s


class PolicySection(Struct, frozen=True, kw_only=True):
    """``[[policies]]``, by its ``name``."""

    match: Callers = ()
    limits: Limits = ()
    providers: Globs = _POLICY.providers
    endpoints: Globs = _POLICY.endpoints
    models: Globs = _POLICY.models
    output_cap: Tokens = _POLICY.output_cap
    lower_caps: Switch = _POLICY.lower_caps
    unbounded: Unbounded = "hold"
    cost_comment: Switch = _POLICY.cost_comment


class Written(Struct, frozen=True, kw_only=True):
    """The whole of the settings, merged. None stands for a default that depends on another key."""

    listen: Listen = "127.0.0.1:8787"
    public_url: Url | None = None
    database_url: DatabaseUrl | None = None
    data_dir: FilePath = "data"
    admins: Emails = ()
    demo: Demo = "auto"
    providers: dict[str, ProviderSection] = {}
    policies: dict[str, PolicySection] = {}
    trusted_proxies: Networks = ()
    allow_plain_http: Switch = False
    hosts: Hosts = ()
    allow_private: Hosts = ()
    body_max_bytes: Bytes = 32 * _MIB
    request_buffer_max_bytes: Bytes = 512 * _MIB
    connections_max: Count = 10_000
    drain_delay_s: Seconds | None = None
    drain_grace_s: Seconds = 30.0
    metrics_token: Text | None = None
    log_level: LogLevel = "info"


SECTIONS: Mapping[str, type[Struct]] = {"providers": ProviderSection, "policies": PolicySection}
"""Tables of tables: what stands in them is a section with a name of the admin's choice."""


def dotted(key: Key) -> str:
    """A key as messages and documents write it: ``providers.lab.base_url``."""
    return ".".join(key)


def all_keys() -> Iterator[Key]:
    """Every key there is, with NAME for a section's own name."""
    for name in Written.__struct_fields__:
        if name in SECTIONS:
            yield from ((name, "NAME", field) for field in SECTIONS[name].__struct_fields__)
        else:
            yield (name,)


def known_names(key: Key) -> tuple[str, ...]:
    """What may stand where the last part of this key stands."""
    return _struct(key).__struct_fields__


def is_leaf(key: Key) -> bool:
    """Whether there is such a key, and it holds a value of its own."""
    return len(key) == (3 if key[0] in SECTIONS else 1) and key[-1] in known_names(key)


def type_of(key: Key) -> object:
    """The type of a key that holds a value."""
    return next(field.type for field in msgspec.structs.fields(_struct(key)) if field.name == key[-1])


def allowed(key: Key) -> str:
    """What is allowed there, in words."""
    info = msgspec.inspect.type_info(type_of(key))
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    for part in types:
        if isinstance(part, msgspec.inspect.Metadata) and part.extra_json_schema:
            return str(part.extra_json_schema["description"])
    raise KeyError(key)


def _struct(key: Key) -> type[Struct]:
    return SECTIONS[key[0]] if len(key) > 1 else Written
