"""The parts of the page: each takes the documents and returns what its template shows, as plain data."""
