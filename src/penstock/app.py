"""The composition root: settings become a running gateway. The only place that knows every part.

``Stores`` is what the command line needs as well: the database and the secret of the installation. ``running`` adds
the parts that carry calls. What is opened here is closed here, in the opposite order, whatever happens between.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from penstock.adapters import AccountsReader, UsageReader
from penstock.admission import Admission, Rules
from penstock.auth import Chain
from penstock.auth.api_key import KeyAuthenticator
from penstock.core.error_bodies import error_response
from penstock.core.errors import GatewayError
from penstock.core.headers import CORS, Header
from penstock.core.pins import SHIPPED_PINS
from penstock.core.prices import OwnPrices, Prices
from penstock.core.provider import Provider
from penstock.core.routing import find_provider, takes_slashes
from penstock.demo import PRICE as DEMO_PRICE
from penstock.demo import Demo, demo_provider
from penstock.demo.model import MODEL as DEMO_MODEL
from penstock.front import Front
from penstock.gateway import Gateway, Parts
from penstock.installation import PEPPER, PSEUDONYM, derive, lost_master_key, make_master_key, read_master_key
from penstock.observe.access_log import AccessFormat, AccessLog, Output
from penstock.observe.lines import Redactor
from penstock.observe.metrics import CONTENT_TYPE as METRICS_TYPE
from penstock.observe.metrics import Metrics
from penstock.providers import BUILT_IN, DIALECTS
from penstock.providers.gemini import GEMINI
from penstock.providers.openai import COMPATIBLE
from penstock.settings import ProviderSettings, Settings
from penstock.store.accounts import Accounts, has_keys
from penstock.store.engine import Database, open_database
from penstock.store.ledger import SqlLedger
from penstock.store.migrations import find_version
from penstock.store.price_import import import_genai_prices
from penstock.store.prices import PriceBooks
from penstock.store.schema import HEAD
from penstock.store.usage import UsageQueries
from penstock.web.health import Check, Health
from penstock.web.metrics_page import MetricsPage
from penstock.web.models_api import ModelsApi
from penstock.web.routes import Parts as WebParts
from penstock.web.routes import Web
from penstock.web.usage_api import UsageApi
from penstock.wire.asgi import AsgiBridge
from penstock.wire.peer import GuardRules
from penstock.wire.server import Server
from penstock.wire.service import ServerLimits
from penstock.wire.upstream import Upstream

Clock = Callable[[], int]


def now_ms() -> int:
    """The wall clock, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Stores:
    """The opened database, by what it is asked for, and the installation's master key."""

    database: Database
    accounts: Accounts
    books: PriceBooks
    master: bytes = field(repr=False)


def open_stores(settings: Settings, clock: Clock = now_ms) -> Stores:
    """Open the database, or make it. Raises StoreError and InstallationError."""
    master = read_master_key(settings.data_dir)
    database = open_database(settings.database_url)
    if master is None:
        if has_keys(database):
            database.close()
            raise lost_master_key(settings.data_dir)
        master = make_master_key(settings.data_dir)
    accounts = Accounts(database, clock, derive(master, PEPPER))
    return Stores(database, accounts, PriceBooks(database), master)


def load_prices(settings: Settings, stores: Stores, clock: Clock = now_ms) -> Prices:
    """The prices in force; the first time ever, the book is imported from the genai-prices package."""
    book = stores.books.find_active()
    if book is None:
        imported = import_genai_prices()
        stores.books.save(imported.book, imported.source, clock(), activate=True)
        book = imported.book
    own = {provider.name: provider.prices for provider in settings.providers}
    own["demo"] = OwnPrices(((DEMO_MODEL, DEMO_PRICE),))
    return Prices(own, book, SHIPPED_PINS)


def build_provider(settings: ProviderSettings) -> Provider:
    """A provider of the settings as a value; a built-in name brings its dialect and its name in the price book."""
    known = BUILT_IN.get(settings.name)
    named = DIALECTS[settings.dialect] if settings.dialect is not None else None
    return Provider(
        name=settings.name,
        dialect=named or (known.dialect if known is not None else COMPATIBLE),
        origin=settings.origin,
        base_path=settings.base_path,
        key=settings.key,
        book_name=known.book_name if known is not None else settings.name,
        allow_private=settings.allow_private,
        asks_usage=(known is None or known.asks_usage) if settings.asks_usage is None else settings.asks_usage,
        cancels_billing=settings.cancels_billing is True,
        timeouts=settings.timeouts,
    )


def refuse(error: GatewayError, path: str, request_id: str) -> tuple[int, Sequence[Header], bytes]:
    """What the server answers by itself, in the dialect that the path suggests."""
    dialect = "anthropic" if path.endswith(("/messages", "/messages/count_tokens")) else "openai"
    if path.startswith(("/gemini/", "/vertex/")):
        dialect = "gemini"
    status, headers, body = error_response(error, dialect, request_id)
    return status, [*headers, *CORS], body


def takes_url_key(path: str, providers: Mapping[str, Provider]) -> bool:
    """Whether ``?key=`` counts on a path: Google's documentation shows its clients no other place for a key."""
    provider = find_provider(path, providers)
    return provider is not None and provider.dialect is GEMINI


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process stands in: where its access log goes, the wall clock, and the port if not the settings' own."""

    out: Output
    clock: Clock = now_ms
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers on ``server.port``."""

    server: Server
    gateway: Gateway
    ledger: SqlLedger
    drain_delay_s: float
    is_draining: asyncio.Event

    async def drain(self, grace_s: float, *, delay_s: float | None = None) -> None:
        """Finish what is under way and stop answering. A second call with less time shortens the first."""
        self.is_draining.set()
        delay_s = self.drain_delay_s if delay_s is None else delay_s
        await self.server.drain(grace_s, delay_s=delay_s, last_words=self.gateway.shut_down)


@asynccontextmanager
async def running(settings: Settings, stores: Stores, surroundings: Surroundings) -> AsyncIterator[Running]:
    """A gateway from its first answer to its last. Raises OSError where the address is taken."""
    clock = surroundings.clock
    async with AsyncExitStack() as stack:
        access_log = _access_log(settings, stores, surroundings)
        access_log.start()
        stack.callback(access_log.stop)
        ledger = SqlLedger(stores.database, clock)
        await ledger.start()
        stack.push_async_callback(ledger.stop)
        upstream = Upstream()
        stack.push_async_callback(upstream.close)
        providers = {provider.name: build_provider(provider) for provider in settings.providers}
        if settings.is_demo_on:
            providers["demo"] = await _start_demo(stack, clock)
        accounts = AccountsReader(stores.accounts, settings.policies, settings.admins, clock)
        authenticator = Chain(
            KeyAuthenticator(
                [derive(stores.master, PEPPER)],
                accounts.find_key,
                accounts.policies,
                takes_url_key=lambda inbound: takes_url_key(inbound.path, providers),
            )
        )
        prices = load_prices(settings, stores, clock)
        rules = Rules(providers, tuple(DIALECTS.values()), settings.body_max_bytes)
        admission = Admission(rules, authenticator, prices, ledger.observations, clock)
        metrics = Metrics(lambda: gateway.in_flight)
        parts = Parts(
            admission=admission,
            prices=prices,
            observations=ledger.observations,
            ledger=ledger,
            sender=upstream,
            now_ms=clock,
            on_settled=(access_log, metrics.settled),
            on_refused=(metrics.refused,),
        )
        gateway = Gateway(rules, parts)
        is_draining = asyncio.Event()
        queries = UsageQueries(stores.database, ledger.flushed)
        stack.callback(queries.close)
        web = Web(
            WebParts(
                authenticator=authenticator,
                health=Health(_checks(stores, ledger, providers), is_draining.is_set),
                usage=UsageApi(UsageReader(queries), accounts.find_subject),
                models=ModelsApi(providers, lambda: prices),
                metrics=MetricsPage(metrics.exposition, METRICS_TYPE, settings.metrics_token),
                now_ms=clock,
            )
        )
        bridge = AsgiBridge(web.app)
        await bridge.start()
        stack.push_async_callback(bridge.stop)
        server = _server(settings, providers, Front(gateway.handle, bridge, web.is_page))
        server.add_sweep(bridge.sweep)
        await server.start(
            settings.listen.host, settings.listen.port if surroundings.port is None else surroundings.port
        )
        stack.push_async_callback(server.drain, 0.0, last_words=gateway.shut_down)
        yield Running(server, gateway, ledger, settings.drain_delay_s, is_draining)


def _access_log(settings: Settings, stores: Stores, surroundings: Surroundings) -> AccessLog:
    provider_keys = [provider.key for provider in settings.providers if provider.key is not None]
    form = AccessFormat(derive(stores.master, PSEUDONYM), Redactor(provider_keys))
    return AccessLog(surroundings.out, form, surroundings.clock)


def _server(settings: Settings, providers: Mapping[str, Provider], front: Front) -> Server:
    rules = GuardRules(
        settings.trusted_proxies,
        settings.allow_plain_http,
        frozenset(settings.hosts),
        takes_slashes=lambda start: takes_slashes(start, providers),
    )
    return Server(
        front.handle,
        refuse=refuse,
        limits=ServerLimits(settings.connections_max, settings.request_buffer_max_bytes),
        rules=rules,
    )


async def _start_demo(stack: AsyncExitStack, clock: Clock) -> Provider:
    """The demo on a port of its own, behind a key that only this process knows."""
    key = secrets.token_hex(16)
    server = Server(Demo(key, clock), refuse=refuse)
    await server.start("127.0.0.1", 0)
    stack.push_async_callback(server.drain, 0.0)
    return demo_provider(COMPATIBLE, server.port, key)


def _checks(stores: Stores, ledger: SqlLedger, providers: Mapping[str, Provider]) -> dict[str, Check]:
    async def database() -> bool:
        return await asyncio.to_thread(_is_up_to_date, stores.database)

    async def can_reserve() -> bool:
        return ledger.is_ready

    async def has_providers() -> bool:
        return bool(providers)

    return {"database": database, "ledger": can_reserve, "providers": has_providers}


def _is_up_to_date(database: Database) -> bool:
    try:
        with database.reading() as connection:
            return find_version(connection) == HEAD
    except SQLAlchemyError:
        return False
