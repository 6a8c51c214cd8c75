"""The providers we know by name, as data; whatever speaks a dialect of theirs needs two lines of settings.

The order is the one in which a bare model name looks for its provider (design.md, "Model names").
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.core.provider import Dialect
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.gemini import GEMINI
from penstock.providers.openai import AZURE, COMPATIBLE, OPENAI, OPENROUTER, PERPLEXITY, XAI


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A provider whose name alone says where it is. ``book_name`` is its name in the price book.

    Where each account has an address of its own, ``address_name`` is the variable that holds it and ``base_url`` the
    path behind it. ``asks_usage``: its streams state their usage only if asked, and it can be asked.
    """

    name: str
    dialect: Dialect
    base_url: str
    key_names: tuple[str, ...]
    book_name: str
    address_name: str = ""
    asks_usage: bool = True


BUILT_IN: Mapping[str, BuiltIn] = {
    provider.name: provider
    for provider in (
        BuiltIn("openai", OPENAI, "https://api.openai.com/v1", ("OPENAI_API_KEY",), "openai"),
        BuiltIn("openrouter", OPENROUTER, "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), "openrouter"),
        BuiltIn("anthropic", ANTHROPIC, "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), "anthropic"),
        BuiltIn(
            "gemini",
            GEMINI,
            "https://generativelanguage.googleapis.com",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            "google",
        ),
        BuiltIn("groq", COMPATIBLE, "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "groq"),
        # Mistral refuses fields that it does not know, and states its usage unasked.
        BuiltIn("mistral", COMPATIBLE, "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), "mistral", asks_usage=False),
        BuiltIn("deepseek", COMPATIBLE, "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), "deepseek"),
        BuiltIn("xai", XAI, "https://api.x.ai/v1", ("XAI_API_KEY",), "x-ai"),
        BuiltIn("together", COMPATIBLE, "https://api.together.xyz/v1", ("TOGETHER_API_KEY",), "together"),
        BuiltIn(
            "perplexity",
            PERPLEXITY,
            "https://api.perplexity.ai",
            ("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
            "perplexity",
            asks_usage=False,
        ),
        BuiltIn("azure", AZURE, "/openai/v1", ("AZURE_OPENAI_API_KEY",), "azure", address_name="AZURE_OPENAI_ENDPOINT"),
    )
}

DIALECTS: Mapping[str, Dialect] = {"openai": COMPATIBLE, "anthropic": ANTHROPIC, "gemini": GEMINI}
