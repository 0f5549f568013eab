"""Aggregation stages that read the documents of a thread together."""

from typing import Any

__all__ = ["LINK", "UNREAD", "Stages", "conversation_of", "last_response", "response_of"]

Stages = list[dict[str, Any]]

LINK = {"root_id": 1, "last_code": 1, "code_response_id": 1, "conversation_id": "$response.conversation.id"}
"""The fields that are read of a response which a question continues."""

UNREAD = {"item.codeact:notebook_outputs": 0, "item.outputs.logs": 0}
"""Fields that no prompt contains: the model reads the item's `observation`, and images by their URLs."""


def last_response() -> Stages:
    """Adds to a conversation the `LINK` of its latest response, as the list `previous`."""
    return [
        {
            "$lookup": {
                "from": "responses",
                "localField": "last_response_id",
                "foreignField": "_id",
                "pipeline": [{"$project": LINK}],
                "as": "previous",
            }
        }
    ]


def conversation_of(owner: str, *further: dict[str, Any]) -> Stages:
    """Adds to a `LINK` or a container its conversation, unless that is deleted, as the list `conversation`.

    The `further` stages are applied to the conversation.
    """
    return [
        {
            "$lookup": {
                "from": "conversations",
                "localField": "conversation_id",
                "foreignField": "_id",
                "pipeline": [{"$match": {"owner": owner, "deleted": False}}, *further],
                "as": "conversation",
            }
        }
    ]


def response_of(owner: str) -> Stages:
    """Adds to an item the `LINK` of its response, as `response`. Drops items of other owners' responses."""
    return [
        {
            "$lookup": {
                "from": "responses",
                "localField": "response_id",
                "foreignField": "_id",
                "pipeline": [{"$match": {"owner": owner}}, {"$project": LINK}],
                "as": "response",
            }
        },
        {"$unwind": "$response"},
    ]
