"""llama.cpp's own HTTP server with a tiny model: a provider that nobody here wrote, and an independent meter.

It counts every token that it predicts; so a test can compare the ledger with what was really made.
"""

import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tests import needs

KEY = "UPSTREAM-KEY"
READY_S = 30
_ROOT = Path(__file__).parents[2]
_PREDICTED = re.compile(r"^llamacpp:tokens_predicted_total (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Llama:
    """A server that runs. It takes any model name, speaks both dialects below ``base_url``, and wants ``KEY``."""

    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def tokens_predicted(self) -> int:
        """How many tokens it has made since it started, for whomever."""
        status, text = self._get("/metrics")
        found = _PREDICTED.search(text)
        assert status == 200
        assert found is not None
        return int(found[1])

    def is_ready(self) -> bool:
        try:
            return self._get("/health")[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=READY_S)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {KEY}", "connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def running_llama(folder: Path) -> Iterator[Llama]:
    """A server for the time of a block; its model and its log are in the folder."""
    for package in ("gguf", "numpy", "tokenizers", "xllamacpp"):
        needs.require(find_spec(package) is not None, f"the Python package {package}")
    command = [sys.executable, "-m", "tests.upstreams.llama_process", str(folder / "tiny.gguf")]
    log = folder / "llama.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            llama = _wait_until_ready(process)
            assert llama is not None, f"llama.cpp did not start:\n{log.read_text(errors='replace')[-2000:]}"
            yield llama
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(READY_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> Llama | None:
    """The server once it answers; None if it has ended, or takes too long."""
    deadline = time.monotonic() + READY_S
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], READY_S)[0]:
        return None
    port = urlsplit(process.stdout.readline().decode().strip()).port
    if port is None:
        return None
    llama = Llama(port)
    while time.monotonic() < deadline:
        if llama.is_ready():
            return llama
    return None
