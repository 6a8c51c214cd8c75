"""The running processes, each with a row and a lock file: a lock that is free means that its holder is dead.

The system frees the lock of a process however it dies, at once; so nobody has to guess from a clock, and a process that
was merely slow is never swept (money.md, "sweep").
"""

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, delete, insert, update

from penstock.store.schema import instance


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

    def register(self, connection: Connection, now_ms: int) -> None:
        connection.execute(insert(instance).values(id=self.id, started_ms=now_ms, beat_ms=now_ms))

    def beat(self, connection: Connection, now_ms: int) -> None:
        connection.execute(update(instance).where(instance.c.id == self.id).values(beat_ms=now_ms))

    def forget(self, connection: Connection, instance_id: str) -> None:
        """Take a process off the list, once it has no open hold."""
        connection.execute(delete(instance).where(instance.c.id == instance_id))
        if instance_id != self.id:
            self._path(instance_id).unlink(missing_ok=True)

    def is_dead(self, instance_id: str) -> bool:
        """Whether a process other than this one is gone: its lock is free, or its file is."""
        if instance_id == self.id:
            return False
        try:
            lock = os.open(self._path(instance_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"instance-{instance_id}.lock"
