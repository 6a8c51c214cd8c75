"""The secret of an installation, from which every other secret of ours is derived.

It lives in one file beside the database, readable by its owner alone, and is made at the first start. Each purpose gets
a key of its own (HKDF, RFC 5869), so that none of them tells anything about another. Whoever loses the file must hand
out new keys; the ledger stays readable.
"""

import hmac
import os
import secrets
from pathlib import Path

MASTER_FILE = "master.key"
MASTER_BYTES = 32
PEPPER = "penstock/key-pepper/v1"
PSEUDONYM = "penstock/log-pseudonym/v1"


class InstallationError(Exception):
    """The master key cannot be read, or is not one."""


def read_master_key(folder: Path) -> bytes | None:
    """The master key of a data folder; None if there is no such file. Raises InstallationError if it is none."""
    path = folder / MASTER_FILE
    try:
        master = path.read_bytes() if path.exists() else None
    except OSError as exc:
        raise InstallationError(f"cannot read {path}: {exc.strerror}") from exc
    if master is not None and len(master) != MASTER_BYTES:
        raise InstallationError(f"{path} is not a master key; restore it from your backup")
    return master


def make_master_key(folder: Path) -> bytes:
    """A new master key, kept in the folder; of two that are made at once, the first. Raises InstallationError."""
    path = folder / MASTER_FILE
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        write_private(path, secrets.token_bytes(MASTER_BYTES))
        return path.read_bytes()
    except OSError as exc:
        raise InstallationError(f"cannot write {path}: {exc.strerror}") from exc


def lost_master_key(folder: Path) -> InstallationError:
    """What to tell an admin whose database has keys that depend on a master key that is gone."""
    path = folder / MASTER_FILE
    return InstallationError(
        f"{path} is missing, and every key in the database depends on it: restore it from your backup. If it is lost, "
        f"make a new one (head -c {MASTER_BYTES} /dev/urandom > {path}) and hand out new keys"
    )


def derive(master: bytes, purpose: str) -> bytes:
    """The 32-byte key for a purpose."""
    extracted = hmac.digest(bytes(MASTER_BYTES), master, "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all.

    Two first starts at once agree: the first file stands.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
