"""penstock: a gateway between apps and LLM providers that authorises, budgets, relays and meters every call."""

__version__ = "0.1.0"
