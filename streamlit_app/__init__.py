"""The history dashboard: pages for operators about everything in the store. The entry point is `app.py`."""
