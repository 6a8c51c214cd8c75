"""A gateway's pages in memory: a ledger and prices to read from, callers by token, and a client that speaks ASGI."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from starlette.types import Message

from penstock.core.call import INBOUND_EXTENSION, Header, Inbound
from penstock.core.errors import Unauthenticated
from penstock.core.identity import Principal, Role
from penstock.core.limits import Limit, Policy, Standing, Subject, parse_limit
from penstock.core.prices import ModelLimits, OwnPrices, Prices
from penstock.core.pricing import Price, Rate
from penstock.core.provider import Origin, Provider
from penstock.core.usage import Unit
from penstock.core.windows import day_period
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import OPENAI
from penstock.web.health import Health
from penstock.web.metrics_page import MetricsPage
from penstock.web.models_api import ModelsApi
from penstock.web.routes import Parts, Web
from penstock.web.usage_api import DaySpent, ModelSpent, UsageApi
from tests.exchange import request

NOW_MS = 1_795_262_400_000  # Saturday 2026-11-21, noon UTC
METRICS_TOKEN = "let-me-count"
USD = 1_000_000_000
MONTHLY, CALLS = parse_limit("10 usd / month"), parse_limit("100 requests / hour")
OWN_DAILY = parse_limit("0.50 usd / day")


ANN = Principal(
    key_id=7,
    key_name="laptop",
    role=Role.MEMBER,
    person_id=12,
    email="Ann@example.com",
    policy=Policy("staff", limits=(MONTHLY, CALLS)),
    subjects=(Subject("person:12", (MONTHLY, CALLS)), Subject("key:7", (OWN_DAILY,))),
)
BOB = Subject("person:13", (parse_limit("1 usd / 7 days"),))


@dataclass
class Sums:
    """The ledger's sums in memory: costs in nano-USD by subject and day, standings by subject and limit."""

    days: dict[str, dict[str, int]] = field(default_factory=dict)
    models: dict[str, list[ModelSpent]] = field(default_factory=dict)
    amounts: dict[tuple[str, Limit], tuple[int, int]] = field(default_factory=dict)

    async def by_day(self, subject: str, first_day: str, last_day: str) -> Sequence[DaySpent]:
        days = sorted(self.days.get(subject, {}).items())
        return [DaySpent(day, cost, 1) for day, cost in days if first_day <= day <= last_day]

    async def by_model(self, subject: str, first_day: str, last_day: str) -> Sequence[ModelSpent]:
        return self.models.get(subject, [])

    async def standings(self, subjects: Sequence[Subject], now_ms: int) -> Sequence[Standing]:
        return [
            Standing(
                subject.name, limit, {limit.window.period(now_ms): self.amounts.get((subject.name, limit), (0, 0))}
            )
            for subject in subjects
            for limit in subject.limits
        ]


@dataclass
class Pages:
    """What a test may change before it asks; ``callers`` are by bearer token."""

    sums: Sums = field(default_factory=Sums)
    callers: dict[str, Principal] = field(default_factory=lambda: {"ann": ANN})
    checks: dict[str, Callable[[], Awaitable[bool]]] = field(default_factory=dict)
    check_s: float = 1.0
    is_draining: bool = False
    own_prices: dict[str, OwnPrices] = field(default_factory=dict)

    async def authenticate(self, inbound: Inbound, now_ms: int) -> Principal | None:
        shown = inbound.header(b"authorization")
        if shown is None:
            return None
        caller = self.callers.get(shown.decode().removeprefix("Bearer "))
        if caller is None:
            raise Unauthenticated
        return caller

    async def find_person(self, email: str) -> Subject | None:
        return BOB if email == "bob@example.com" else None

    def parts(self) -> Parts:
        prices = Prices(self.own_prices, None, ())
        return Parts(
            authenticator=self,
            health=Health(self.checks, lambda: self.is_draining, self.check_s),
            usage=UsageApi(self.sums, self.find_person),
            models=ModelsApi(PROVIDERS, lambda: prices),
            metrics=MetricsPage(lambda: b"penstock_calls_total 1\n", "text/plain; version=0.0.4", METRICS_TOKEN),
            now_ms=lambda: NOW_MS,
        )

    def web(self) -> Web:
        return Web(self.parts())

    async def get(self, path: str, *, token: str | None = "ann", method: str = "GET", **headers: str) -> "Answer":
        """The answer to a request; ``headers`` by name with underscores."""
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if token is not None:
            sent.append((b"authorization", b"Bearer " + token.encode()))
        path, _, query = path.partition("?")
        return await fetch(self.web(), request(method, path, query, sent))


@dataclass
class Answer:
    status: int
    headers: list[Header]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, every number with a fraction as an exact Decimal."""
        return json.loads(self.body, parse_float=Decimal)

    def header(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name!r} stands there twice"
        return values[0] if values else None


async def fetch(web: Web, inbound: Inbound, answers: list[Answer] | None = None) -> Answer:
    """What the ASGI bridge does, in memory. ``answers`` gets the answer even if the application raises behind it."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": inbound.method,
        "scheme": "http",
        "path": inbound.path,
        "raw_path": inbound.path.encode(),
        "query_string": inbound.query.encode(),
        "root_path": "",
        "headers": list(inbound.headers),
        "client": (inbound.client, 0),
        "server": ("127.0.0.1", 8787),
        "extensions": {INBOUND_EXTENSION: inbound},
    }
    try:
        await web.app(scope, receive, send)
    finally:
        start, *bodies = sent
        answer = Answer(start["status"], start["headers"], b"".join(message["body"] for message in bodies))
        if answers is not None:
            answers.append(answer)
    return answer


def day(ago: int) -> str:
    """The ISO date of so many days before NOW_MS."""
    return day_period(NOW_MS // 86_400_000 - ago)


PROVIDERS = {
    "openai": Provider("openai", OPENAI, Origin("https", "api.openai.test", 443), "/v1", key="k", book_name="openai"),
    "anthropic": Provider("anthropic", ANTHROPIC, Origin("https", "api.anthropic.test", 443), "/v1", key="k"),
}
MINI = Price({Unit.INPUT: Rate(100_000), Unit.OUTPUT: Rate(400_000), Unit.CACHE_READ: Rate(25, per=1000)})
OFFERED = {
    "openai": OwnPrices(
        prices=(("gpt-mini", MINI), ("gpt-max", Price({Unit.INPUT: Rate(10_000_000)}))),
        limits=(("gpt-mini", ModelLimits(context=128_000, output_max=16_000)),),
    ),
    "anthropic": OwnPrices(prices=(("claude-haiku", MINI), ("gpt-mini", MINI))),
}
