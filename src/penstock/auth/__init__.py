"""Ways to say who you are, and the chain that asks each of them in turn.

None means "not my kind of credential, ask the next"; an exception means "mine, and bad". A credential that crossed an
open network is refused before anybody looks it up.
"""

from penstock.auth.credentials import has_credential
from penstock.core.call import Authenticator, Inbound
from penstock.core.errors import PlainHttpRefused, Unauthenticated
from penstock.core.identity import Principal


class Chain:
    """Authenticators in the order in which they are asked."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    async def authenticate(self, inbound: Inbound, now_ms: int) -> Principal:
        """Who calls. Raises PlainHttpRefused, BadRequest, Unauthenticated, or StoreUnavailable."""
        if not inbound.is_confidential and has_credential(inbound):
            raise PlainHttpRefused(
                "Credentials are not accepted over plain http from other machines: anybody on the way could read them. "
                "Use https, or set allow_plain_http = true in penstock.toml if the network is trusted."
            )
        for authenticator in self._authenticators:
            principal = await authenticator.authenticate(inbound, now_ms)
            if principal is not None:
                return principal
        raise Unauthenticated
