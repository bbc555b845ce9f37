"""The charts of the report: each takes a result document and returns an ``<svg>`` element, or nothing."""
