"""Makes the messages of webhooks, as the Responses API has them, and signs them (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac

import msgspec

__all__ = ["body_of", "signed_headers"]


def body_of(event_id: str, event: str, response_id: str, *, created_at: int) -> bytes:
    """The JSON of one event. `created_at` is in Unix seconds."""
    return msgspec.json.encode(
        {"id": event_id, "object": "event", "created_at": created_at, "type": event, "data": {"id": response_id}}
    )


def signed_headers(event_id: str, body: bytes, *, secret: bytes, now: int) -> dict[str, str]:
    """The headers that prove who sent the body, and when (`now`, in Unix seconds)."""
    signature = hmac.digest(secret, f"{event_id}.{now}.".encode() + body, hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
