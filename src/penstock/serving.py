"""A gateway as a process: what the first start prints, what signals mean, and what is logged on the way.

SIGTERM and SIGINT drain; a second one shortens the drain. The first admin's key is shown once: on the terminal, or in a
file that only its owner can read where there is no terminal.
"""

import asyncio
import gc
import signal
import sys
from dataclasses import replace

import uvloop
from structlog.typing import FilteringBoundLogger

from penstock import __version__
from penstock.app import Running, Surroundings, now_ms, open_stores, running
from penstock.demo.model import MODEL as DEMO_MODEL
from penstock.installation import write_private
from penstock.observe.lines import Redactor
from penstock.observe.log import catch_logging, open_log
from penstock.settings import Settings

HURRIED_GRACE_S = 5.0
KEY_FILE = "admin-key"


def serve(settings: Settings) -> None:
    """Serve until a signal says stop. Raises SettingsError's kin: StoreError, InstallationError, OSError."""
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    started_ms = now_ms()
    out = sys.stderr.buffer
    redactor = Redactor([provider.key for provider in settings.providers if provider.key is not None])
    log = open_log(out, redactor, now_ms, settings.log_level)
    catch_logging(log, redactor)
    for warning in settings.warnings:
        log.warning("setting", detail=warning)
    stores = open_stores(settings)
    try:
        async with running(settings, stores, Surroundings(out)) as gateway:
            if not settings.listen.port:  # The system has chosen one: say which.
                settings = replace(
                    settings, public_url=f"{settings.public_url.removesuffix(':0')}:{gateway.server.port}"
                )
            # Only now: a start that fails, as its port is taken, must not use up the one key that is ever shown.
            first_key = stores.accounts.start_first_time(has_policies=bool(settings.policies))
            if first_key is not None:
                _show_first_key(settings, first_key)
            gc.collect()
            gc.freeze()  # What a start leaves stays for good: no collection looks at it again.
            took_ms = now_ms() - started_ms
            log.info("started", url=settings.public_url, port=gateway.server.port, version=__version__, took_ms=took_ms)
            await _until_told_to_stop(gateway, settings.drain_grace_s, log)
    finally:
        stores.database.close()


async def _until_told_to_stop(gateway: Running, grace_s: float, log: FilteringBoundLogger) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    hurries: set[asyncio.Task[None]] = set()

    def on_signal(name: str) -> None:
        if told.is_set():
            log.warning("drain shortened", signal=name, grace_s=HURRIED_GRACE_S)
            hurries.add(loop.create_task(gateway.drain(HURRIED_GRACE_S, delay_s=0)))
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    await told.wait()
    log.info("draining", grace_s=grace_s)
    await gateway.drain(grace_s)
    await asyncio.gather(*hurries)
    log.info("stopped")


def _show_first_key(settings: Settings, key: str) -> None:
    """Print the key and a call that works as pasted; without a terminal, keep the key in a file."""
    if not sys.stdout.isatty():
        path = settings.data_dir / KEY_FILE
        path.unlink(missing_ok=True)
        write_private(path, key.encode() + b"\n")
        sys.stdout.write(f"The first admin's key is in {path}, for its owner alone.\n")
        return
    sys.stdout.write(_welcome(settings, key))
    sys.stdout.flush()


def _welcome(settings: Settings, key: str) -> str:
    url = settings.public_url
    call = f'curl {url}/v1/models -H "Authorization: Bearer {key}"'
    if settings.is_demo_on:
        body = f'{{"model": "{DEMO_MODEL}", "messages": [{{"role": "user", "content": "What is 2 + 2?"}}]}}'
        call = (
            f'curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\\n'
            f"                -d '{body}'"
        )
    return f"""
penstock {__version__} is ready at {url}

  admin key   {key}
              It is shown only this once: keep it.

  try it      {call}

"""
