"""The lines of ``penstock config check``: every key in effect, its value, and its source. No secret is among them."""

import re
from collections.abc import Iterable, Iterator

import msgspec

from penstock.settings.merge import Merged
from penstock.settings.schema import SECTIONS, Found, Written, dotted
from penstock.settings.values import Address, Settings, Shown

MASK = "********"
_SECRETS = {"metrics_token"}
_KEY_FIELDS = {"api_key", "api_key_file"}
_URL_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


def shown(merged: Merged, settings: Settings, keys: Iterable[Found]) -> Iterator[Shown]:
    """First every key that stands by itself, then what is set in sections, then the provider keys that were found."""
    for name in Written.__struct_fields__:
        if name not in SECTIONS:
            is_secret = name in _SECRETS and getattr(settings, name) is not None
            yield Shown(name, MASK if is_secret else _text(getattr(settings, name)), merged.at(name).source)
    for found in merged.found.values():
        if len(found.key) == 3 and found.key[2] not in _KEY_FIELDS:
            yield Shown(dotted(found.key), _text(found.value), found.source)
    for found in keys:
        yield Shown(dotted(found.key), MASK, found.source)


def _text(value: object) -> str:
    """Nearly as TOML has it."""
    plain = str(value) if isinstance(value, Address) else value
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", msgspec.json.encode(plain, enc_hook=str).decode())
