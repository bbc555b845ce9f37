"""Exports: what a job found in the forms that other tools read. Views over its documents and the ledger."""
