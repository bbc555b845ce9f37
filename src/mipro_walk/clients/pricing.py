"""What tokens cost, by genai-prices. An unknown model has an unknown price, never a price of zero."""

from __future__ import annotations

from decimal import Decimal


def price(
    provider: str, model: str, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0
) -> float | None:
    """Return US dollars, 0.0 for the local model, ``None`` if the price is not known."""
    if provider == "local":
        return 0.0
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens, cache_read_tokens=cached_tokens)
    known_provider = provider if provider in ("openai", "groq") else None
    try:
        total: Decimal = calc_price(usage, model_ref=model, provider_id=known_provider).total_price
    except LookupError:
        return None
    return float(total)
