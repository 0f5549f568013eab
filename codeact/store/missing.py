"""The errors for ids that do not exist, or that belong to another owner."""

from codeact.errors import NotFound

__all__ = ["no_blob", "no_container", "no_conversation", "no_response", "no_response_to_continue"]


def no_blob(sha256: str) -> NotFound:
    return NotFound(f"There is no blob '{sha256}'.", param="sha256")


def no_container(container_id: str) -> NotFound:
    return NotFound(f"There is no container '{container_id}'.", param="container_id")


def no_conversation(conversation_id: str | None, *, param: str = "conversation") -> NotFound:
    return NotFound(f"There is no conversation '{conversation_id}'.", param=param)


def no_response(response_id: str) -> NotFound:
    return NotFound(f"There is no response '{response_id}'.", param="response_id")


def no_response_to_continue(response_id: str) -> NotFound:
    return NotFound(
        f"There is no response '{response_id}' to continue.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
