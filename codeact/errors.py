"""The errors that `codeact` raises. Each message says what is wrong and, if possible, what to do about it.

```text
CodeActError
├── InvalidRequest              a parameter is wrong; `param` names it
│   ├── NotFound                no such id, or it belongs to another owner
│   ├── ApprovalDecided         what was to be approved no longer waits
│   └── ConversationLocked      the conversation is answering another request
│       └── BegunElsewhere      another server has begun the response with this id
├── ModelError                  the model could not be asked or did not answer
│   ├── ModelNotFound           the provider does not know this model
│   ├── ModelUnauthorized       the key is missing or refused
│   ├── ModelUnreachable        no connection to the model's server
│   │   └── ModelStreamBroken   the stream broke after the answer had begun
│   ├── ModelRateLimited        the provider asks us to slow down
│   ├── ModelQuotaExceeded      the key has no quota or credit left
│   ├── ModelTimeout            no first token, or a pause between tokens, past the limit
│   ├── ContextTooLong          the conversation does not fit into the model's window
│   │   └── CompactionFreesTooLittle  a compaction made the prompt hardly shorter
│   ├── ModelSaidNothing        an answer without any text, even after a second attempt
│   ├── ModelUnreadable         code in an ambiguous form, even after a second attempt
│   ├── ModelRepeats            the model repeats itself, even after it was told to stop
│   └── ModelRefused            any other answer that is not a completion
├── StoreError                  an operation of the database failed
│   ├── StoreUnavailable        no database answers, or it cannot be started
│   ├── StoredByNewerVersion    a newer release wrote the document in a form unknown to this one
│   └── ResponseTakenOver       another server considered this one dead and took the response over
├── Overloaded                  more runs than the server allows
│   └── Stopping                the server is stopping and accepts no new runs
├── RateLimited                 an owner's limit is reached
├── ClientError                 raised by our client: the server gave no answer
│   ├── ServerUnreachable       nothing listens at the address, or it is not a codeact server
│   ├── ServerUnauthorized      the server refuses our key
│   ├── ServerGone              the connection ended before the answer did
│   └── RequestRefused          the server answered with an error; `code` is its own
└── ConfigurationError          a setting is unknown or has an impossible value
```
"""

from typing import ClassVar

__all__ = [
    "ApprovalDecided",
    "BegunElsewhere",
    "ClientError",
    "CodeActError",
    "CompactionFreesTooLittle",
    "ConfigurationError",
    "ContextTooLong",
    "ConversationLocked",
    "InvalidRequest",
    "ModelError",
    "ModelNotFound",
    "ModelQuotaExceeded",
    "ModelRateLimited",
    "ModelRefused",
    "ModelRepeats",
    "ModelSaidNothing",
    "ModelStreamBroken",
    "ModelTimeout",
    "ModelUnauthorized",
    "ModelUnreachable",
    "ModelUnreadable",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "RequestRefused",
    "ResponseTakenOver",
    "ServerGone",
    "ServerUnauthorized",
    "ServerUnreachable",
    "Stopping",
    "StoreError",
    "StoreUnavailable",
    "StoredByNewerVersion",
    "first_of",
]


def first_of(failure: BaseException) -> BaseException:
    """The failure itself or, for an exception group, its most informative member: preferably an error of ours.

    One member is usually the cause; the others are its consequences.
    """
    if not isinstance(failure, BaseExceptionGroup):
        return failure
    members = [first_of(member) for member in failure.exceptions]
    return next((member for member in members if isinstance(member, CodeActError)), members[0])


class CodeActError(Exception):
    """The root of our errors. `code` is stable, `status` is the HTTP status of the answer, and `retryable` says whether
    a retry may succeed.

    `retry_after_s` is when a retry makes sense; None if unknown.
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


class ApprovalDecided(InvalidRequest):
    """Somebody else has decided, or nobody did in time."""

    code = "approval_decided"
    status = 409


class ConversationLocked(InvalidRequest):
    code = "conversation_locked"
    status = 409
    retryable = True

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class BegunElsewhere(ConversationLocked):
    """Raised if another server has begun the response with this id."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Another server has begun the response {response_id}.", param="conversation")
        self.response_id = response_id


class ModelError(CodeActError):
    """`detail` contains the provider's own message, bounded; `message` quotes it."""

    code = "model_error"
    status = 502

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, detail: str = "") -> None:
        super().__init__(message, param=param, code=code)
        self.detail = detail


class ModelNotFound(ModelError):
    code = "model_not_found"
    status = 404


class ModelUnauthorized(ModelError):
    code = "model_unauthorized"


class ModelUnreachable(ModelError):
    code = "model_unreachable"
    retryable = True


class ModelStreamBroken(ModelUnreachable):
    code = "model_stream_broken"


class ModelQuotaExceeded(ModelError):
    code = "insufficient_quota"
    status = 429


class ModelSaidNothing(ModelError):
    code = "model_said_nothing"


class ModelUnreadable(ModelError):
    code = "model_unreadable"


class ModelRepeats(ModelError):
    code = "model_repeats"


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


class CompactionFreesTooLittle(ContextTooLong):
    code = "compaction_frees_too_little"


class ModelRefused(ModelError):
    code = "model_refused"


class StoreError(CodeActError):
    code = "store_error"


class StoreUnavailable(StoreError):
    code = "store_unavailable"
    status = 503
    retryable = True


class StoredByNewerVersion(StoreError):
    code = "stored_by_newer_version"
    status = 409

    def __init__(self, kind: str, found: object, known: int) -> None:
        super().__init__(
            f"A newer version of the server stored this {kind} (schema version {str(found)[:20]}; this server reads"
            f" up to {known}). Start that version again; the document is unchanged."
        )


class ResponseTakenOver(StoreError):
    code = "response_taken_over"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "This server was taken for dead while it answered, and another one has ended the response. What that one"
            " stored can be had from there: resume the response, or GET it."
        )


class Overloaded(CodeActError):
    code = "overloaded"
    status = 429
    retryable = True


class Stopping(Overloaded):
    status = 503


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
