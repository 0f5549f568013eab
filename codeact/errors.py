"""Everything that `codeact` raises; each message names the cause and, where there is one, the remedy.

CodeActError
├── InvalidRequest              a parameter is wrong; `param` names it
│   ├── NotFound                no such id, or it is another owner's
│   └── ConversationLocked      the conversation is answering another request
├── ModelError                  the model could not be asked or did not answer
│   ├── ModelNotFound           the provider does not know this model
│   ├── ModelUnauthorized       the key is missing or refused
│   ├── ModelUnreachable        no connection to the model's server
│   ├── ModelRateLimited        the provider asks us to slow down
│   ├── ModelTimeout            no first token, or a pause between tokens, past the limit
│   ├── ContextTooLong          the conversation does not fit into the model's window
│   └── ModelRefused            any other answer that is not a completion
├── StoreError                  the database could not do it
│   └── StoreUnavailable        no database answers, or it cannot be started
├── Overloaded                  more runs than the server takes
├── RateLimited                 an owner's limit is reached
├── ClientError                 our client's view: the server gave no answer
│   ├── ServerUnreachable       nothing listens at the address, or it is no codeact server
│   ├── ServerUnauthorized      the server refuses our key
│   ├── ServerGone              the connection ended before the answer did
│   └── RequestRefused          the server answered with an error; `code` is its own
└── ConfigurationError          a setting is unknown or has an impossible value
"""

from typing import ClassVar

__all__ = [
    "ClientError",
    "CodeActError",
    "ConfigurationError",
    "ContextTooLong",
    "ConversationLocked",
    "InvalidRequest",
    "ModelError",
    "ModelNotFound",
    "ModelRateLimited",
    "ModelRefused",
    "ModelTimeout",
    "ModelUnauthorized",
    "ModelUnreachable",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "RequestRefused",
    "ServerGone",
    "ServerUnauthorized",
    "ServerUnreachable",
    "StoreError",
    "StoreUnavailable",
]


class CodeActError(Exception):
    """Root. `code` is stable, `status` the HTTP status it is answered with, `retryable` a promise.

    `retry_after_s`, where it is known: when trying again makes sense.
    """

    code: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    retry_after_s: float | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code  # type: ignore[misc]


class InvalidRequest(CodeActError):
    code = "invalid_request"
    status = 400


class NotFound(InvalidRequest):
    code = "not_found"
    status = 404


class ConversationLocked(InvalidRequest):
    code = "conversation_locked"
    status = 409
    retryable = True

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class ModelError(CodeActError):
    code = "model_error"
    status = 502


class ModelNotFound(ModelError):
    code = "model_not_found"
    status = 404


class ModelUnauthorized(ModelError):
    code = "model_unauthorized"


class ModelUnreachable(ModelError):
    code = "model_unreachable"
    retryable = True


class ModelRateLimited(ModelError):
    code = "rate_limit_exceeded"
    status = 429
    retryable = True


class ModelTimeout(ModelError):
    code = "model_timeout"
    status = 504
    retryable = True


class ContextTooLong(ModelError):
    code = "context_length_exceeded"
    status = 400


class ModelRefused(ModelError):
    code = "model_refused"


class StoreError(CodeActError):
    code = "store_error"


class StoreUnavailable(StoreError):
    code = "store_unavailable"
    status = 503
    retryable = True


class Overloaded(CodeActError):
    code = "overloaded"
    status = 503
    retryable = True


class RateLimited(CodeActError):
    code = "rate_limit_exceeded"
    status = 429
    retryable = True

    def __init__(self, message: str, *, code: str, retry_after_s: float) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class ClientError(CodeActError):
    code = "client_error"


class ServerUnreachable(ClientError):
    code = "server_unreachable"
    retryable = True


class ServerUnauthorized(ClientError):
    code = "server_unauthorized"


class ServerGone(ClientError):
    code = "server_gone"
    retryable = True


class RequestRefused(ClientError):
    code = "request_refused"


class ConfigurationError(CodeActError):
    code = "configuration_error"
