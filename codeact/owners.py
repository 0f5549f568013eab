"""Names of owners: combines a key's owner and a user of its embed into one name.

A key's owner has no slash in its name. What follows the first slash of a name is the user, as the key's holder calls
them, so that no two pairs share a name; what is before it is the account that their use counts for, too.
"""

from codeact.errors import InvalidRequest

__all__ = ["ANONYMOUS", "MAX_CHARS", "account_of", "check_owner", "user_of_account"]

ANONYMOUS = "anonymous"
"""The account of visitors without a name, which no key may have."""

MAX_CHARS = 128


def check_owner(name: str) -> None:
    """Raises `InvalidRequest` for what no key may be made for."""
    if not _is_name(name) or "/" in name:
        text = f"An owner's name has 1 to {MAX_CHARS} printable characters, none of them a slash."
        raise InvalidRequest(text, param="owner")
    if name == ANONYMOUS:
        raise InvalidRequest(f"'{ANONYMOUS}' is the owner of visitors without a name; take another.", param="owner")


def user_of_account(account: str, user: str) -> str:
    """The owner's name of a user of this account. Raises `InvalidRequest` for a user's name that we do not take."""
    if not _is_name(user):
        raise InvalidRequest(f"'user' must have 1 to {MAX_CHARS} printable characters.", param="user")
    return f"{account}/{user}"


def account_of(owner: str) -> str:
    """Whose use it is besides the owner's own; for who is no user of an embed, the owner."""
    return owner.partition("/")[0]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_CHARS and text.isprintable() and bool(text.strip())
