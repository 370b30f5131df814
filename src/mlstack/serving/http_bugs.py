"""Ask the application so that a bug in it becomes a 500 without details, and a traceback in the log."""

from __future__ import annotations

import asyncio
import logging

from mlstack.serving.http_answers import Clock, encode_answer
from mlstack.serving.messages import Application, Head, Request, Response
from mlstack.serving.problems import Problem

_log = logging.getLogger("mlstack.serving")


def admit(application: Application, head: Head) -> Response | None:
    """The refusal of a request, or None."""
    try:
        return application.admit(head)
    except Exception:  # noqa: BLE001 - whatever a bug raises
        return _failed(application, head)


def refusal(application: Application, head: Head, problem: Problem) -> Response:
    """The answer to a request that the server itself refuses."""
    try:
        return application.refusal(head, problem)
    except Exception:  # noqa: BLE001 - whatever a bug raises
        return _logged(head).response(head.id)


async def answer(application: Application, request: Request) -> Response:
    """The answer to a request.

    Raises:
        asyncio.CancelledError: The task was cancelled. One that comes from inside the application is a bug.
    """
    try:
        return await application.answer(request)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(application, request.head)
    except Exception:  # noqa: BLE001 - whatever a bug raises
        return _failed(application, request.head)


def encode(application: Application, response: Response, head: Head, *, clock: Clock, connection: str) -> bytes:
    """The bytes of an answer to `head`; `connection` as in encode_answer."""
    head_only = head.method == "HEAD"
    try:
        return encode_answer(response, clock=clock, request_id=head.id, connection=connection, head_only=head_only)
    except Exception:  # noqa: BLE001 - a body that is not bytes, a header that is not text
        failure = _failed(application, head)
        return encode_answer(failure, clock=clock, request_id=head.id, connection=connection, head_only=head_only)


def _failed(application: Application, head: Head) -> Response:
    return refusal(application, head, _logged(head))


def _logged(head: Head) -> Problem:
    """What is told of the bug that is being handled; its traceback goes to the log."""
    _log.exception("%s %s failed (request %s)", head.method, head.path, head.id)
    return Problem(500, "the service failed; its log says why", reason="failed")
