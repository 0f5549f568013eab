"""Why a sign-in did not work. Every message is written for the person who wanted to sign in."""

from codeact.errors import CodeActError

__all__ = ["LoginBusy", "LoginExpired", "LoginFailed", "LoginRefused", "ProviderFailed"]


class LoginFailed(CodeActError):
    """A sign-in did not work."""

    code = "login_failed"
    status = 400


class LoginExpired(LoginFailed):
    """This browser did not begin the sign-in, or began it too long ago."""

    code = "login_expired"


class LoginRefused(LoginFailed):
    """The provider, or this server, does not let this person in."""

    code = "login_refused"
    status = 403


class LoginBusy(LoginFailed):
    """Too many sign-ins wait for the provider already."""

    code = "login_busy"
    status = 503
    retryable = True


class ProviderFailed(LoginFailed):
    """The provider does not answer, or answers what cannot be right."""

    code = "login_provider_failed"
    status = 502
    retryable = True
