"""``GET /metrics``: the counters of this gateway for Prometheus. Numbers only, no person; yet not everybody's business.

This machine may read them, and whoever shows the token of the settings.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from starlette.responses import Response

from penstock.core.errors import Unauthenticated
from penstock.web.visit import Visit


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """``exposition`` gives the text, ``content_type`` its type; without a ``token`` only this machine may read it."""

    exposition: Callable[[], bytes]
    content_type: str
    token: str | None = field(default=None, repr=False)

    async def page(self, visit: Visit) -> Response:
        """Raises Unauthenticated for anybody else."""
        if not self._may_read(visit):
            raise Unauthenticated("Metrics are for this machine, or for whoever sends metrics_token as a Bearer token.")
        return Response(self.exposition(), headers={"content-type": self.content_type, "cache-control": "no-store"})

    def _may_read(self, visit: Visit) -> bool:
        if self.token is None:
            return _is_loopback(visit.inbound.client)
        shown = visit.inbound.header(b"authorization") or b""
        return _is_loopback(visit.inbound.client) or hmac.compare_digest(shown, b"Bearer " + self.token.encode())


def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        return False
