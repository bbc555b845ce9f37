"""The six steps, as flows that speak through a ``Ui`` and know nothing of terminals."""
