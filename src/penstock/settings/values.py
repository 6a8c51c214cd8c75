"""The settings as the rest of penstock is handed them: checked, complete, and free of how they were spelled."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Protocol

from penstock.core.limits import Policy
from penstock.core.prices import OwnPrices
from penstock.core.provider import Origin, Timeouts
from penstock.settings.schema import Source


class BuiltIn(Protocol):
    """What the settings need to know of a provider whose name alone says where it is."""

    @property
    def base_url(self) -> str: ...

    @property
    def key_names(self) -> tuple[str, ...]: ...

    @property
    def address_name(self) -> str:
        """The variable with the address of one's own account, behind which ``base_url`` is the path; empty: none."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One provider. ``dialect`` None: the built-in provider's own; ``asks_usage``, ``cancels_billing`` None: not said.

    ``key`` may go to ``origin`` and nowhere else.
    """

    name: str
    dialect: str | None
    origin: Origin
    base_path: str
    key: str | None = field(repr=False)
    prices: OwnPrices
    allow_private: bool
    asks_usage: bool | None
    cancels_billing: bool | None
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of ``penstock config check``: secrets are masked."""

    key: str
    value: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an admin decides outside the database.

    ``providers`` are in the order in which a bare model name looks for one: those of the settings, then the built-in
    ones that have a key. ``hosts`` empty allows any. ``shown`` has a line for every key in effect. ``warnings`` are
    what an admin should hear at the start.
    """

    listen: Address
    public_url: str
    database_url: str = field(repr=False)
    data_dir: Path
    admins: tuple[str, ...]
    demo: str
    providers: tuple[ProviderSettings, ...]
    policies: tuple[Policy, ...]
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    allow_plain_http: bool
    hosts: tuple[str, ...]
    allow_private: tuple[str, ...]
    body_max_bytes: int
    request_buffer_max_bytes: int
    connections_max: int
    drain_delay_s: float
    drain_grace_s: float
    metrics_token: str | None = field(repr=False)
    log_level: str
    shown: tuple[Shown, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_demo_on(self) -> bool:
        """Whether to serve the offline demo provider: by default, only where there is no other."""
        return self.demo == "on" or (self.demo == "auto" and not self.providers)
