"""Task apps: small HTTP services that ask a policy model and score its answer."""
