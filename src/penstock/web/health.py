"""``/healthz``: the process answers. ``/readyz``: it can take calls. Both say so without a credential, and no more."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from penstock import __version__
from penstock.core.errors import GatewayError
from penstock.web.answers import json_answer
from penstock.web.visit import Visit

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Health:
    """``checks`` by name (database, migrations, providers): True where all is well, False or a GatewayError if not."""

    checks: Mapping[str, Check]
    is_draining: Callable[[], bool]
    check_s: float = 1.0

    async def healthz(self, visit: Visit) -> Response:
        """200 as long as the process answers at all."""
        return json_answer(visit.inbound, {"status": "ok", "version": __version__})

    async def readyz(self, visit: Visit) -> Response:
        """200 if every check passes in time, 503 if one does not or the process is on its way out."""
        names = list(self.checks)
        passed = await asyncio.gather(*(_passes(self.checks[name], self.check_s) for name in names))
        is_draining = self.is_draining()
        status = "draining" if is_draining else "ready" if all(passed) else "not ready"
        told = {name: "ok" if ok else "failed" for name, ok in zip(names, passed, strict=True)}
        return json_answer(visit.inbound, {"status": status, "checks": told}, 200 if status == "ready" else 503)


async def _passes(check: Check, check_s: float) -> bool:
    try:
        async with asyncio.timeout(check_s):
            return await check()
    except (GatewayError, TimeoutError):
        return False
