"""The running processes, each with a row and a lock file, so that a dead one can be told from a slow one.

The system frees the lock of a process however it dies, at once. Only where there is no lock file to look at (another
machine's process, a file that somebody removed) a beat decides: 15 s without one is death (money.md, "sweep").
"""

import fcntl
import os
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select, update

from penstock.store.schema import instance

BEAT_S = 5
DEAD_AFTER_MS = 15_000


class _Lock(Enum):
    TAKEN = "taken"
    FREE = "free"
    ABSENT = "absent"


class Instance:
    """The process that we are; ``begin`` takes its lock, which is held until ``end`` or death."""

    def __init__(self, folder: Path, instance_id: str) -> None:
        self.id = instance_id
        self._folder = folder
        self._lock: int | None = None

    def begin(self) -> None:
        """Raises OSError."""
        self._lock = os.open(self._path(self.id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def end(self) -> None:
        """Give the lock back and remove its file."""
        if self._lock is not None:
            self._path(self.id).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def beat(self, connection: Connection, now_ms: int) -> None:
        """Say that we live; the row is made where it is missing: at the start, or after we were taken for dead."""
        row = instance.c.id == self.id
        if not connection.execute(update(instance).where(row).values(beat_ms=now_ms)).rowcount:
            connection.execute(insert(instance).values(id=self.id, started_ms=now_ms, beat_ms=now_ms))

    def find_dead(self, connection: Connection, owners: Iterable[str], now_ms: int) -> list[str]:
        """Those of the listed processes and of these owners that are dead; never ourselves."""
        beats: dict[str, int] = dict.fromkeys(owners, 0)
        beats |= {row.id: row.beat_ms for row in connection.execute(select(instance.c.id, instance.c.beat_ms))}
        beats.pop(self.id, None)
        return [other for other, beat_ms in beats.items() if _is_dead(self._probe(other), now_ms - beat_ms)]

    def forget(self, connection: Connection, ids: Sequence[str]) -> None:
        """Take processes off the list, once they have no open hold; our own lock file stays until ``end``."""
        if ids:
            connection.execute(delete(instance).where(instance.c.id.in_(ids)))
        for other in ids:
            if other != self.id:
                self._path(other).unlink(missing_ok=True)

    def _probe(self, instance_id: str) -> _Lock:
        try:
            lock = os.open(self._path(instance_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Lock.ABSENT
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _Lock.TAKEN
        finally:
            os.close(lock)
        return _Lock.FREE

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"instance-{instance_id}.lock"


def _is_dead(lock: _Lock, silent_ms: int) -> bool:
    if lock is _Lock.ABSENT:
        return silent_ms >= DEAD_AFTER_MS
    return lock is _Lock.FREE
