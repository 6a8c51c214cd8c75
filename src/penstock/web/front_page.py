"""``GET /``: what this is and where to go from here, for somebody with curl."""

from starlette.responses import Response

from penstock import __version__
from penstock.web.answers import json_answer
from penstock.web.visit import Visit

_DESCRIPTION = {
    "service": "penstock",
    "version": __version__,
    "about": "A gateway to LLM providers: every call is authorised, budgeted, relayed and metered.",
    "credential": "Send your key (sk-pen-...) as 'Authorization: Bearer KEY', or where your client puts it.",
    "endpoints": {
        "POST /v1/chat/completions": "OpenAI's chat; the model is provider/id, or a bare id",
        "POST /v1/completions": "OpenAI's legacy completions",
        "POST /v1/messages": "Anthropic's messages",
        "GET /v1/models": "the models that you may use, with prices",
        "/{provider}/...": "a provider's own API, as its documentation says",
        "GET /usage": "what you have used, by day and by model",
        "GET /me": "your key, and what is left of its limits",
        "GET /healthz": "the process answers",
        "GET /readyz": "the gateway can take calls",
    },
}


async def front_page(visit: Visit) -> Response:
    """The same for everybody."""
    return json_answer(visit.inbound, _DESCRIPTION)
