"""``report.html``: one self-contained page, a view over the result documents. ``style.css`` serves every page."""
