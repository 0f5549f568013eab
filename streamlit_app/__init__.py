"""The history dashboard: what the store holds enters, pages for operators leave. Entry point: `app.py`."""
