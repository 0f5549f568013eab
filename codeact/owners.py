"""Names of owners: combines a key's owner and a user of its embed into one name.

The name of a key's owner (the account) contains no slash. The part of a name after its first slash is the user, as
named by the key's holder, so no two pairs share a name. The use of a user also counts for the account.
"""

from codeact.errors import InvalidRequest

__all__ = ["ANONYMOUS", "MAX_CHARS", "account_of", "check_key_name", "check_owner", "user_of_account"]

ANONYMOUS = "anonymous"
"""The account of visitors without a name. No key may have this owner."""

MAX_CHARS = 128


def check_owner(name: str) -> None:
    """Raises `InvalidRequest` unless a key may have this owner."""
    if not _is_name(name) or "/" in name:
        text = f"An owner's name has 1 to {MAX_CHARS} printable characters, none of them a slash."
        raise InvalidRequest(text, param="owner")
    if name == ANONYMOUS:
        raise InvalidRequest(f"'{ANONYMOUS}' is the owner of visitors without a name; take another.", param="owner")


def check_key_name(name: str) -> None:
    """Raises `InvalidRequest` for a key's name that a terminal could take for commands."""
    if not name.isprintable():
        raise InvalidRequest("A key's name has printable characters only, in one line.", param="name")


def user_of_account(account: str, user: str) -> str:
    """The owner's name for a user of this account. Raises `InvalidRequest` for an invalid user name."""
    if not _is_name(user):
        raise InvalidRequest(f"'user' must have 1 to {MAX_CHARS} printable characters.", param="user")
    return f"{account}/{user}"


def account_of(owner: str) -> str:
    """The account of this owner; an owner that is not an embed's user is its own account."""
    return owner.partition("/")[0]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_CHARS and text.isprintable() and bool(text.strip())
