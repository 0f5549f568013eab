"""The history dashboard: pages for operators over what the store holds. Entry point: `app.py`."""
