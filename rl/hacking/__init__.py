"""Signs that a policy exploits its reward, found while it trains."""
