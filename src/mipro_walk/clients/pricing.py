"""What tokens cost. An unknown price is ``None``, never 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call as the endpoint counted them; ``cached_tokens`` are part of ``prompt_tokens``."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


def price_at(prices: tuple[float, float], usage: TokenUsage) -> float:
    """Return the price in US dollars for ``prices`` of a million prompt and a million answer tokens.

    >>> price_at((1.0, 2.0), TokenUsage(500_000, 250_000))
    1.0
    """
    return (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1e6


def price(provider: str, model: str, usage: TokenUsage, base_url: str | None = None) -> float | None:
    """Return the price of one call in US dollars; ``None`` if it is not known.

    Prices are those of the installed genai-prices; nothing is fetched. The first call loads them (about a second of
    CPU), so keep it off an event loop. A custom server is priced if its address is that of a known provider.
    """
    if provider == "local":
        return 0.0
    from genai_prices import Usage, calc_price  # heavy: only for a run that asks a hosted model

    counted = Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=min(usage.cached_tokens, usage.prompt_tokens),
    )
    known = {"provider_api_url": base_url} if provider == "custom" else {"provider_id": provider}
    try:
        return float(calc_price(counted, model, **known).total_price)
    except (LookupError, ValueError):
        return None
