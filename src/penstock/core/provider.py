"""The seam towards providers: a provider is a value, a dialect a handful of pure functions over bytes and decoded JSON.

A host that speaks a known dialect needs only a Provider; a new wire format needs one Dialect. Neither does any I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.core.usage import Usage

JsonObject = Mapping[str, object]
# Longer than any model's name: what is longer is not worth a look-up.
MODEL_NAME_MAX = 256


class EndpointKind(StrEnum):
    """CALL is metered and needs a price and a bound; FREE (listings, token counting) holds 0 usd and one request."""

    CALL = "call"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of a dialect.

    ``path`` follows the provider's base path, or its origin where it ``is_rooted``; ``{model}`` stands for one segment,
    or for the rest where it comes last.
    ``cap_field`` is where we write an output cap, None where we may not add one. ``stream_end`` is the data, or the
    JSON ``type``, of the last event of a complete stream; None where the end of the body is the only sign.
    ``streams_array``: an answer that is no event stream is one JSON array, sent element by element.
    """

    name: str
    method: str
    path: str
    kind: EndpointKind = EndpointKind.CALL
    cap_field: str | None = None
    stream_end: bytes | None = None
    streams_array: bool = False
    is_rooted: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request body asks for, as far as we decide on it.

    ``output_tokens`` is the caller's own cap of each choice, None if there is none. ``has_hidden_input``: something we
    cannot see or count (a stored conversation, a file id, a remote URL, a server-run tool). ``media_tokens`` bounds
    what inline media can come to beyond their bytes, ``tool_uses`` how often tools with a fee may run. ``models`` are
    further models that the body names (fallbacks). ``wants_usage``: the caller asked for the usage chunk himself.
    """

    model: str
    is_stream: bool = False
    output_tokens: int | None = None
    choices: int = 1
    has_tools: bool = False
    is_structured: bool = False
    has_hidden_input: bool = False
    media_tokens: int = 0
    tool_uses: int = 0
    wants_usage: bool = False
    models: tuple[str, ...] = ()

    @property
    def traits(self) -> str:
        """What the learned overhead of input tokens depends on beside the model: ``""``, ``t``, ``s`` or ``ts``."""
        return ("t" if self.has_tools else "") + ("s" if self.is_structured else "")


@dataclass(frozen=True, slots=True)
class Changes:
    """The only edits that we make to a body: another model id, an output cap, the request for a usage chunk."""

    model: str | None = None
    output_cap: int | None = None
    ask_usage: bool = False


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Reading:
    """A provider's usage statement in our units.

    ``has_input`` and ``has_output`` say which half was stated. ``reported_pico`` is the cost that the provider itself
    names, in pico-USD; ``properties`` are those of the answer by which prices vary. ``flags`` name what was odd:
    ``usage_mismatch``, ``usage_malformed``.
    """

    usage: Usage
    has_input: bool
    has_output: bool
    reported_pico: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def service_tier(usage: JsonObject) -> Mapping[str, str]:
    """The tier that a statement says was served, as a property by which prices vary."""
    tier = usage.get("service_tier")
    return {"service_tier": tier} if isinstance(tier, str) else {}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format.

    ``read_request`` is given the model that the path names, if it names one, and raises InvalidRequest or InvalidJson;
    ``prepare`` returns the very bytes it was given where nothing
    changes. ``find_usage`` picks the usage statement out of a decoded answer or event (None: this one has none), later
    statements replace earlier ones field by field, and ``read_usage`` turns the merged statement into our units.
    ``usage_key`` is the quoted JSON key in front of every statement. ``is_final``: the statement in this answer or
    event counts the whole output. ``find_model`` is the model that an answer or event names. ``is_error_event`` tells
    an error inside a stream.

    ``versions`` are the segments that clients may put before an endpoint's path; the first one is sent where they put
    none. ``revised_counts`` are those that a later statement may lower. A value of an answer above ``value_bytes_max``
    is content that nothing is looked for in. ``query_names`` are the parameters that pass; None: all.
    ``window_max`` are the tokens that every model takes at most, where a model's own window is not known.
    ``takes_comments``: clients can read a stream that holds anything but lines of data.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    key_header: str
    key_prefix: str
    read_request: Callable[[Endpoint, bytes, str | None], Asked]
    prepare: Callable[[Endpoint, bytes, Asked, Changes], bytes]
    usage_key: bytes
    find_usage: Callable[[JsonObject], JsonObject | None]
    is_final: Callable[[JsonObject], bool]
    read_usage: Callable[[JsonObject], Reading]
    find_model: Callable[[JsonObject], str | None]
    is_error_event: Callable[[JsonObject], bool]
    versions: tuple[str, ...] = ()
    revised_counts: frozenset[str] = frozenset()
    value_bytes_max: int = 64 * 1024
    query_names: frozenset[str] | None = None
    window_max: int | None = None
    takes_comments: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider key may go, and nowhere else."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the response head, between two bytes, for the whole exchange."""

    connect_s: float = 5.0
    head_s: float = 600.0
    idle_s: float = 300.0
    total_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Provider:
    """An LLM API that we can call. ``base_path`` has no trailing slash; ``key`` None sends none.

    ``book_name`` is the provider's name in the price book. ``asks_usage``: takes ``stream_options.include_usage``.
    ``cancels_billing``: a closed connection stops the bill, so a left stream is not drained.
    """

    name: str
    dialect: Dialect
    origin: Origin
    base_path: str
    key: str | None = field(default=None, repr=False)
    book_name: str = ""
    allow_private: bool = False
    asks_usage: bool = True
    cancels_billing: bool = False
    timeouts: Timeouts = Timeouts()
