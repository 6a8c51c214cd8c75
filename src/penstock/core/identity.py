"""Who is calling, and how a key of ours looks.

A key is ``sk-pen-<type:1><kid:10><secret:43><crc:6>`` in base62 (reliability.md 4.7). The checksum lets us refuse a
mistyped key without touching the database; the secret has 256 bits, so a fast HMAC is all that is kept of it.
"""

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from enum import StrEnum

from penstock.core.limits import Limit, Policy, Subject

KEY_PREFIX = "sk-pen-"
KEY_PATTERN = re.compile(r"sk-pen-[kwac][0-9A-Za-z]{59}")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KID_DIGITS, _SECRET_DIGITS, _CRC_DIGITS = 10, 43, 6


class KeyType(StrEnum):
    """The letter behind the prefix: an API key, a web app's key, an admin's key, a one-time code."""

    API = "k"
    WEB = "w"
    ADMIN = "a"
    CODE = "c"


class Role(StrEnum):
    ADMIN = "admin"
    VIEWER = "viewer"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the store keeps it; ``digest`` is ``key_digest`` of the whole key. Times are epoch milliseconds."""

    id: int
    kid: str
    digest: bytes
    name: str
    role: Role
    person_id: int | None
    email: str | None
    policy: str | None
    person_policy: str | None
    is_enabled: bool
    expires_at_ms: int | None
    limits: tuple[Limit, ...] = ()
    models: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling and what that person and key may do. A key without a person has ``person_id`` None."""

    key_id: int
    key_name: str
    role: Role
    person_id: int | None
    email: str | None
    policy: Policy
    subjects: tuple[Subject, ...]
    key_models: tuple[str, ...] = ("*",)
    expires_at_ms: int | None = None

    @property
    def label(self) -> str:
        """How logs and refusals name the caller: the e-mail, else the key's name."""
        return self.email or self.key_name


def mint_key(key_type: KeyType) -> str:
    """A new random key. It is shown once; only its kid and digest are kept."""
    kid = _random(_KID_DIGITS)
    body = f"{KEY_PREFIX}{key_type.value}{kid}{_random(_SECRET_DIGITS)}"
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether the token has the shape and the checksum of a key of ours."""
    return KEY_PATTERN.fullmatch(token) is not None and token[-_CRC_DIGITS:] == _checksum(token[:-_CRC_DIGITS])


def key_kid(token: str) -> str:
    """The public part of a well-formed key, by which the store finds it."""
    start = len(KEY_PREFIX) + 1
    return token[start : start + _KID_DIGITS]


def key_digest(pepper: bytes, token: str) -> bytes:
    """What the store keeps of a key: HMAC-SHA256 under a secret that is not in the database."""
    return hmac.digest(pepper, token.encode(), "sha256")


def _random(digits: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(digits))


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CRC_DIGITS):
        value, digit = divmod(value, 62)
        digits = _ALPHABET[digit] + digits
    return digits
