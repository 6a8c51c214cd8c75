"""How pages answer: JSON in which an amount of money is a number and exact, and errors in the caller's dialect."""

from decimal import Decimal

import msgspec
from starlette.responses import Response

from penstock.core.call import Inbound
from penstock.core.error_bodies import error_response
from penstock.core.errors import GatewayError
from penstock.core.money import format_usd

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def json_answer(inbound: Inbound, value: object, status: int = 200) -> Response:
    """A value as JSON, indented for people; nobody may store it, since it is the caller's own."""
    body = msgspec.json.format(_ENCODER.encode(value)) + b"\n"
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", "x-request-id": inbound.request_id}
    if dialect_of(inbound) == "anthropic":
        headers["request-id"] = inbound.request_id
    return Response(body, status, headers, media_type="application/json")


def error_answer(inbound: Inbound, error: GatewayError) -> Response:
    """A refusal or failure, in Anthropic's words where its version header is sent, else in OpenAI's."""
    status, headers, body = error_response(error, dialect_of(inbound), inbound.request_id)
    answer = Response(body, status)
    answer.raw_headers = [(b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"), *headers]
    return answer


def dialect_of(inbound: Inbound) -> str:
    """Anthropic's SDKs call the same paths as OpenAI's, and tell themselves apart by this header."""
    return "openai" if inbound.header(b"anthropic-version") is None else "anthropic"


def usd(nanousd: int) -> Decimal:
    """An amount as a JSON number of dollars, with every digit that it has."""
    return Decimal(format_usd(nanousd))
