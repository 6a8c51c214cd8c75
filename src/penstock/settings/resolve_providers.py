"""The providers of the settings: the sections of the file, then the built-in ones whose key is there.

That is also the order in which a bare model name looks for its provider (design.md, "Model names").
"""

import re
from collections.abc import Collection, Mapping

from msgspec import structs

from penstock.core.prices import ModelLimits, OwnPrices
from penstock.core.pricing import Price, usd_rate
from penstock.core.provider import Timeouts
from penstock.core.usage import Unit
from penstock.settings.merge import Merged, refusal
from penstock.settings.provider_keys import Variables, find_address, find_key, key_names
from penstock.settings.resolve import parse_url, private_hosts
from penstock.settings.schema import Found, PriceRow, ProviderSection
from penstock.settings.values import BuiltIn, ProviderSettings

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# A provider's name is the first segment of its paths: these lead elsewhere, now or soon.
_NAMES_TAKEN = {
    "admin", "api", "assets", "demo", "docs", "health", "healthz", "login", "logout", "me", "metrics", "oauth",
    "openapi", "proxy", "readyz", "static", "token", "ui", "usage", "v1", "v1beta", "v2",
}  # fmt: skip

BuiltIns = Mapping[str, BuiltIn]


def find_keys(merged: Merged, variables: Variables, built_in: BuiltIns) -> dict[str, Found]:
    """The keys of all providers that have one, by provider."""
    keys = {}
    for name in dict.fromkeys([*merged.written.providers, *built_in]):
        names = built_in[name].key_names if name in built_in else key_names(name)
        if found := find_key(name, names, variables, merged):
            keys[name] = found
    return keys


def find_addresses(variables: Variables, built_in: BuiltIns) -> dict[str, Found]:
    """The base URLs that stand in variables, by provider."""
    found = {
        name: find_address(name, known.address_name, known.base_url, variables)
        for name, known in built_in.items()
        if known.address_name
    }
    return {name: address for name, address in found.items() if address is not None}


def homeless(
    merged: Merged, keys: Mapping[str, Found], addresses: Mapping[str, Found], built_in: BuiltIns
) -> list[str]:
    """A warning for each built-in provider that has a key in a variable and no address to go with it."""
    return [
        f"providers.{name} has a key but no address: set {known.address_name}"
        for name, known in built_in.items()
        if known.address_name and name in keys and name not in addresses and name not in merged.written.providers
    ]


def keyless(merged: Merged, keys: Mapping[str, Found], built_in: BuiltIns) -> list[str]:
    """A warning for each built-in provider that is switched on without the key that it asks for."""
    return [
        f"providers.{name} has no key: set {built_in[name].key_names[0]}"
        for name, section in merged.written.providers.items()
        if name in built_in and name not in keys and section.base_url is None
    ]


def resolve_providers(
    merged: Merged,
    keys: Mapping[str, Found],
    addresses: Mapping[str, Found],
    built_in: BuiltIns,
    dialects: Collection[str],
) -> tuple[ProviderSettings, ...]:
    """Raises SettingsError for a section that says too little, or what cannot be."""
    sections = dict(merged.written.providers)
    for name, known in built_in.items():
        if name in keys and name not in sections and (name in addresses or not known.address_name):
            sections[name] = ProviderSection()
    for name, address in addresses.items():
        if name in sections and sections[name].base_url is None:
            sections[name] = structs.replace(sections[name], base_url=str(address.value))
    for name, section in sections.items():
        _check_section(name, section, merged, dialects)
    return tuple(
        _provider(name, section, merged, keys.get(name), built_in.get(name)) for name, section in sections.items()
    )


def _check_section(name: str, section: ProviderSection, merged: Merged, dialects: Collection[str]) -> None:
    found = merged.at("providers", name)
    if not _NAME.fullmatch(name):
        raise found.error("must have a name of lower-case letters, digits, - and _ that starts with a letter")
    if name in _NAMES_TAKEN:
        raise found.error("must have another name: paths that begin so lead elsewhere")
    if section.dialect is not None and section.dialect not in dialects:
        at = merged.at("providers", name, "dialect")
        raise at.error(f"must be one of {', '.join(sorted(dialects))}, not {section.dialect!r}")


def _provider(
    name: str, section: ProviderSection, merged: Merged, key: Found | None, known: BuiltIn | None
) -> ProviderSettings:
    base_url = section.base_url or (known.base_url if known and not known.address_name else "")
    if not base_url:
        raise merged.at("providers", name).error("needs a base_url, since the name is not built in")
    origin, base_path = parse_url(base_url, merged.at("providers", name, "base_url"))
    # Who writes an address into the settings means that very address; a built-in name is looked up in public DNS.
    is_trusted = section.base_url is not None or origin.host in private_hosts(merged)
    return ProviderSettings(
        name=name,
        dialect=section.dialect or (None if known else "openai"),
        origin=origin,
        base_path=base_path,
        key=str(key.value) if key else None,
        prices=_own_prices(section, merged.at("providers", name, "prices")),
        allow_private=is_trusted if section.allow_private is None else section.allow_private,
        asks_usage=section.asks_usage,
        cancels_billing=section.cancels_billing,
        timeouts=Timeouts(
            head_s=section.head_timeout_s, idle_s=section.idle_timeout_s, total_s=section.total_timeout_s
        ),
    )


def _own_prices(section: ProviderSection, found: Found) -> OwnPrices:
    prices = section.prices or {}
    limits = tuple(
        (glob, ModelLimits(row.context, row.output_max, row.reasoning)) for glob, row in section.models.items()
    )
    if prices == "free":
        return OwnPrices(limits=limits, is_free=True)
    try:
        return OwnPrices(tuple((glob, _price(row)) for glob, row in prices.items()), limits)
    except ValueError as exc:
        raise refusal(found) from exc


def _price(row: PriceRow) -> Price:
    """A cache that has no price of its own is charged as other input: core/pricing.py knows the stand-ins."""
    stated = {
        Unit.INPUT: row.input,
        Unit.OUTPUT: row.output,
        Unit.CACHE_READ: row.cache_read,
        Unit.CACHE_WRITE: row.cache_write,
    }
    return Price({unit: usd_rate(usd, 1_000_000) for unit, usd in stated.items() if usd is not None})
