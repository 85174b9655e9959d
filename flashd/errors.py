"""
Every error of flashd, drawn as one tree.

The class says what the caller should do, not which module threw it::

    FlashdError
    |- ConfigError            mend the file; the process exits with 78
    |- Refused                an answer (4xx): asking again changes nothing
    |  |- Unauthenticated     401: signature or token
    |  |- Forbidden           403: the token is known, the scope is not enough
    |  |- NotFound            404
    |  |- Conflict            409: the same id with other content, or a state that does not allow it
    |  `- TooLarge            413
    |- Busy                   503 and Retry-After: slow down, then send the same id again
    |- Transient              nothing is known: send the same id again
    |  |- StoreUnavailable
    |  |- ChannelUnavailable
    |  `- BackendUnavailable
    |- Permanent              the order is bad: dead letter
    `- InvariantBroken        a bug or a damaged store: crash, never catch

On the hot path a refusal is a return value, not one of these.
"""


class FlashdError(Exception):
    """The root of the tree; never raised itself."""


class ConfigError(FlashdError):
    """
    A configuration or a server setting that flashd refuses to start with.

    The message names file, key and value, says what is allowed, and how to mend it.
    """

    exit_code = 78


class Refused(FlashdError):
    """An answer: asking the same again changes nothing."""

    status = 400
    title = "refused"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class Unauthenticated(Refused):
    """The signature or the token is missing or wrong."""

    status = 401
    title = "unauthenticated"


class Forbidden(Refused):
    """The caller is known, and its scope does not reach this far."""

    status = 403
    title = "forbidden"


class NotFound(Refused):
    """There is nothing under that name."""

    status = 404
    title = "not_found"


class Conflict(Refused):
    """The same id with other content, or a state that does not allow the change."""

    status = 409
    title = "conflict"


class TooLarge(Refused):
    """The body is over the limit."""

    status = 413
    title = "too_large"


class Busy(FlashdError):
    """Too much at once: slow down, then send the same id again."""

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class MailboxFull(Busy):
    """An actor's mailbox has no room."""


class Transient(FlashdError):
    """Nothing is known about the outcome: send the same id again."""


class StoreUnavailable(Transient):
    """Redis did not answer, or answered that it cannot write durably."""


class ChannelUnavailable(Transient):
    """A sales channel's own API did not answer."""


class BackendUnavailable(Transient):
    """A backend did not answer."""


class Permanent(FlashdError):
    """The order is bad: no repetition will help."""


class InvariantBroken(FlashdError):
    """A promise of flashd does not hold: crash loudly, never catch."""
