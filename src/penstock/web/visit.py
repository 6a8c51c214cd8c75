"""One request for a page, as its handler sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.core.call import Inbound


@dataclass(frozen=True, slots=True)
class Visit:
    """``query`` has the last value of each name; ``path`` what the route's placeholders stand for; both decoded."""

    inbound: Inbound
    query: Mapping[str, str]
    path: Mapping[str, str]
    now_ms: int
