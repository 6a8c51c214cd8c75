"""Penstock beside nginx in one run: CPU per call, latency at a fixed rate, CPU per chunk of a stream.

The simulated provider and the load generator share one core, the program under test has the other. Rounds are
interleaved, medians are printed with the ratio to nginx: quote ratios, not times. Everything stays on loopback and
ends by itself. Penstock runs with everything on: a key, a policy with a dollar, a request and a concurrency limit, the
durable ledger, metering and the access log.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.app import open_stores
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings import load
from penstock.store.accounts import NewKey

HERE = Path(__file__).parent
BIN = HERE / "bin"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SIMULATOR, NGINX, PENSTOCK = 9100, 9200, 9300
WARM_UP_S = 1
SETTINGS = f"""
listen = "127.0.0.1:{PENSTOCK}"
data_dir = "data"
[[policies]]
name = "bench"
match = ["*"]
limits = ["1000000 usd / month", "1000000000 requests / minute", "20000 concurrent"]
[providers.sim]
base_url = "http://127.0.0.1:{SIMULATOR}/v1"
prices = {{ "*" = {{ input = 1, output = 2 }} }}
"""
LOADS = {
    "plain, 64 at once": ["-c", "64"],
    "plain, 1,000/s": ["-m", "open", "-r", "1000", "-c", "64"],
    "300 streams": ["-m", "sse", "-c", "300"],
}


@dataclass(frozen=True, slots=True)
class Target:
    """A program under test: its process, where it listens, and the arguments of its calls."""

    name: str
    pid: int
    port: int
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: units (calls, or chunks of streams) per second, CPU and latency in microseconds."""

    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    chosen = options.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None or shutil.which("gcc") is None:
        print("bench needs nginx and gcc: run `make system` as root, or install the two packages", file=sys.stderr)
        return 1
    build()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running([str(BIN / "sim"), str(SIMULATOR)], core=1, folder=folder))
        targets = [start_nginx(stack, nginx, folder), start_penstock(stack, folder)]
        for load_name, arguments in LOADS.items():
            rounds = [[measure(target, arguments, chosen.seconds) for target in targets] for _ in range(chosen.rounds)]
            print_table(load_name, targets, rounds)
    return 0


def build() -> None:
    BIN.mkdir(exist_ok=True)
    for name in ("sim", "gwload"):
        subprocess.run(["gcc", "-O2", "-o", BIN / name, HERE / f"{name}.c"], check=True)


def start_nginx(stack: ExitStack, nginx: str, folder: Path) -> Target:
    shutil.copy(HERE / "nginx.conf", folder)
    master = stack.enter_context(running([nginx, "-p", str(folder), "-c", "nginx.conf"], core=0, folder=folder))
    wait_for(NGINX)
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text(encoding="ascii").split()
    return Target("nginx", int(children[0]), NGINX, [])


def start_penstock(stack: ExitStack, folder: Path) -> Target:
    file = folder / "penstock.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("penstock")), "serve", "--config", str(file)]
    process = stack.enter_context(running(command, core=0, folder=folder))
    wait_for(PENSTOCK)
    stores = open_stores(load(file, {"PENSTOCK_DATA_DIR": str(folder / "data")}, None, BUILT_IN, DIALECTS))
    key, _ = stores.accounts.create_key(NewKey(email="bench@example.com"))
    stores.database.close()
    call = ["-p", "/sim/v1/chat/completions", "-H", f"Authorization: Bearer {key}"]
    return Target("penstock", process.pid, PENSTOCK, call)


@contextmanager
def running(command: Sequence[str], *, core: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command on one core, ended with the context."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["taskset", "-c", str(core), *command], cwd=folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(port: int) -> None:
    """Until something answers HTTP there."""
    for _ in range(2000):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            subprocess.run(["sleep", "0.01"], check=True)
        else:
            return
    raise SystemExit(f"nothing answers on port {port}")


def measure(target: Target, arguments: Sequence[str], seconds: int) -> Measured:
    command = ["taskset", "-c", "1", str(BIN / "gwload"), "-d", str(seconds), "-w", str(WARM_UP_S)]
    before = cpu_s(target.pid)
    done = subprocess.run([*command, *arguments, *target.arguments, str(target.port)], check=True, capture_output=True)
    spent_s = cpu_s(target.pid) - before
    told = json.loads(done.stdout)
    is_stream = "chunks_s" in told
    rate = told["chunks_s"] if is_stream else told["rps"]
    p50, p99 = (told["c50_us"], told["c99_us"]) if is_stream else (told["p50_us"], told["p99_us"])
    return Measured(rate, 1e6 * spent_s / (rate * (seconds + WARM_UP_S)), p50, p99)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def print_table(load_name: str, targets: Sequence[Target], rounds: Sequence[Sequence[Measured]]) -> None:
    print(f"\n### {load_name}\n\n| | per second | CPU us each | x nginx | p50 us | p99 us |")
    print("|---|---:|---:|---:|---:|---:|")
    base = statistics.median(each[0].cpu_us for each in rounds)
    for index, target in enumerate(targets):
        mine = [each[index] for each in rounds]
        cpu = statistics.median(one.cpu_us for one in mine)
        rate, p50, p99 = (
            statistics.median(getattr(one, name) for one in mine) for name in ("rate", "p50_us", "p99_us")
        )
        print(f"| {target.name} | {rate:,.0f} | {cpu:.1f} | {cpu / base:.1f} | {p50:,.0f} | {p99:,.0f} |")


if __name__ == "__main__":
    sys.exit(main())
