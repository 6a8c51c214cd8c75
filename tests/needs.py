"""What a machine may lack. A test that needs it says so here, in one line: it is skipped there, and fails under CI.

So a laptop without a database runs the rest, and CI never passes because something was silently missing.
"""

import importlib
import os
import shutil
import socket
from pathlib import Path
from types import ModuleType

import pytest


def require(is_there: bool, what: str) -> None:  # noqa: FBT001 -- it reads as a sentence: require(answers, "Redis")
    """Go on only if it is there; ``what`` names it for the reader of the report."""
    if is_there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true every test must run, and this machine lacks {what}", pytrace=False)
    pytest.skip(f"this machine lacks {what}")


def require_module(name: str) -> ModuleType:
    """The imported module."""
    try:
        return importlib.import_module(name)
    except ImportError:
        require(is_there=False, what=f"the Python package {name}")
        raise


def require_command(name: str) -> Path:
    """Where the program is."""
    path = shutil.which(name)
    require(path is not None, f"the program {name}")
    return Path(path or "")


def require_port(host: str, port: int, what: str) -> None:
    """Go on only if something listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        require(probe.connect_ex((host, port)) == 0, f"{what} on {host}:{port}")
