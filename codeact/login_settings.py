"""The settings by which people sign in: an OpenID provider, or headers of a proxy that authenticates."""

import hashlib
from datetime import timedelta
from functools import cached_property
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from codeact.loopback import is_loopback
from codeact.roles import Role

__all__ = ["LOGIN_PARENT", "PROXY", "SECURE_PREFIX", "SESSION_COOKIE", "LoginSettings"]

SESSION_COOKIE, SECURE_PREFIX = "codeact_session", "__Host-"
"""The cookie with a browser's session; on https, its name has the prefix."""
LOGIN_PARENT = "login-"
PROXY = "proxy"
"""The issuer of those whom a proxy has signed in."""

Names = Annotated[tuple[str, ...], NoDecode]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]


class LoginSettings(BaseSettings):
    """The part of `Settings` about people who sign in. A rule of a role is described at `codeact.roles.role_of`."""

    oidc_issuer: str | None = Field(default=None, description="The address of the OpenID provider, as it writes it.")
    oidc_client_id: str | None = Field(default=None, description="What the provider calls this server.")
    oidc_client_secret: SecretStr | None = Field(default=None, description="Unset: a public client, with PKCE alone.")
    oidc_scopes: str = Field(default="openid profile email", description="What to ask the provider for.")
    oidc_groups_claim: str = Field(
        default="groups", max_length=200, description="Where the groups are; `realm_access.roles` is a path."
    )
    oidc_name: str | None = Field(default=None, max_length=60, description="Of the provider, on the button.")
    login_header: Header | None = Field(
        default=None, description="The header in which a trusted proxy names the user who has signed in there."
    )
    login_header_email: Header | None = Field(default=None, description="The header with the user's address.")
    login_header_groups: Header | None = Field(default=None, description="The header with the groups, by commas.")
    login_users: Names = Field(
        default=(), description="Who may sign in: groups, addresses, `*@example.com`, or `*` for everybody."
    )
    login_operators: Names = Field(default=(), description="Who signs in as an operator; written as above.")
    login_admins: Names = Field(default=(), description="Who signs in as an admin; written as above.")
    login_session_hours: float = Field(
        default=24.0, gt=0, le=24 * 90, description="After that, people sign in again, and their groups are read anew."
    )

    dashboard_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s\\]+$", description="Where people find the dashboard after signing in."
    )

    @field_validator("login_users", "login_operators", "login_admins", mode="before")
    @classmethod
    def _split_rules(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("oidc_issuer", "oidc_client_id", "oidc_name", "login_header", "dashboard_url", mode="before")
    @classmethod
    def _empty_login_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def people_sign_in(self) -> bool:
        """Whether people sign in, so that every request needs a session or a key."""
        return self.oidc_issuer is not None or self.login_header is not None

    @property
    def login_issuers(self) -> tuple[str, ...]:
        """Who says now which people sign in; others have signed in under former settings."""
        issuers = (self.oidc_issuer, PROXY if self.login_header is not None else None)
        return tuple(issuer for issuer in issuers if issuer is not None)

    @cached_property
    def login_rules(self) -> tuple[tuple[Role, frozenset[str]], ...]:
        """The rules of each role."""
        rules = (("user", self.login_users), ("operator", self.login_operators), ("admin", self.login_admins))
        return tuple((role, frozenset(names)) for role, names in rules)  # type: ignore[misc]

    @property
    def login_parent(self) -> str:
        """What the sessions of people name as their parent: the provider that has signed them in."""
        return f"{LOGIN_PARENT}{hashlib.sha256((self.oidc_issuer or '').encode()).hexdigest()[:16]}"

    @property
    def login_lasts(self) -> timedelta:
        return timedelta(hours=self.login_session_hours)

    def login_problem(self, *, public_url: str | None, host: str, proxies: bool) -> tuple[str, str] | None:
        """The setting that is missing or wrong, and why; None if people can sign in, or need not."""
        if not self.people_sign_in:
            given = (self.login_users or self.login_operators or self.login_admins) and "CODEACT_LOGIN_USERS"
            return (given, "needs CODEACT_OIDC_ISSUER or CODEACT_LOGIN_HEADER") if given else None
        if not any(rule for _, rule in self.login_rules):
            return ("CODEACT_LOGIN_USERS", "is missing: it says who may sign in; '*' is everybody the provider knows")
        if self.login_header is not None and not proxies:
            return ("CODEACT_TRUSTED_PROXIES", "is missing: CODEACT_LOGIN_HEADER is believed from these alone")
        if self.oidc_issuer is None:
            return None
        try:
            issuer = urlsplit(self.oidc_issuer)
        except ValueError:
            return ("CODEACT_OIDC_ISSUER", "is no address")
        if (
            issuer.query
            or issuer.fragment
            or not (issuer.scheme == "https" or (issuer.scheme == "http" and is_loopback(issuer.hostname)))
        ):
            return ("CODEACT_OIDC_ISSUER", "must be an https:// address without '?' and '#'")
        if self.oidc_client_id is None:
            return ("CODEACT_OIDC_CLIENT_ID", "is missing: the provider gives it when you register this server")
        if "openid" not in self.oidc_scopes.split():
            return ("CODEACT_OIDC_SCOPES", "must contain 'openid'")
        if public_url is None and not is_loopback(host):
            return ("CODEACT_PUBLIC_URL", "is missing: the provider sends people back to this address")
        return None
