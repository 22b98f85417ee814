"""The hub as granian's workers serve it (RSGI): a request is read, waits for its turn, and is answered in a thread."""

import asyncio
import io
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from typing import IO, Any
from wsgiref.types import WSGIEnvironment

import structlog
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

from memoryhub.api import middleware
from memoryhub.api.problems import Problem
from memoryhub.config import IDLE_SECONDS
from memoryhub.front import bodies
from memoryhub.front.callers import Callers
from memoryhub.front.gateway import Answer, Scope, answer, environ_of
from memoryhub.front.turns import BusyError, Caller, Turns

MAX_FORM_BYTES = 64 * 2**10
"""How long a body may be that is not for the API."""
UPLOADS = 32
"""How many bodies longer than a form are read at a time."""
SWITCH_SECONDS = 0.001
"""How long a thread keeps the interpreter while the event loop, which answers `/health`, waits for it."""
KEEP_ALIVE = ("Keep-Alive", f"timeout={IDLE_SECONDS - 5}")
"""The header that announces the limit to clients, with time to spare for a request that is under way."""

log = structlog.get_logger(__name__)


class Application:
    """What granian calls for each request, in the event loop of a worker."""

    def __init__(self, django: WSGIHandler, *, threads: int) -> None:
        self._django = django
        self._callers = Callers()
        self._threads = Turns(threads, share=max(1, threads // 2))
        self._uploads = Turns(UPLOADS, share=UPLOADS // 2)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._running: set[asyncio.Task[None]] = set()

    def __rsgi_init__(self, _loop: asyncio.AbstractEventLoop) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        environ = environ_of(scope)
        if scope.path == "/health":
            # It asks nothing of anybody (middleware.Liveness), so that it can be answered without a thread.
            _send(protocol, answer(self._django, environ))
            return
        try:
            caller = await self._caller_of(environ)
            environ["wsgi.input"] = await self._read(environ, caller, protocol)
        except Problem as problem:
            self._refuse(protocol, environ, problem)
            return
        # A task of its own: it holds its thread to the end, whatever becomes of the client meanwhile.
        task = asyncio.create_task(self._answer(environ, caller, protocol))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    async def _caller_of(self, environ: WSGIEnvironment) -> Caller:
        """Whose share of the threads a request is of. Raises Problem.

        To verify a key or session takes a moment in a thread, of the share of strangers; it is remembered.
        """
        stranger = self._callers.of(environ)
        if not self._callers.needs_verification(environ):
            return stranger
        verification = {**environ, middleware.VERIFY: True}
        try:
            async with self._threads.taken(stranger):
                await asyncio.get_running_loop().run_in_executor(self._pool, answer, self._django, verification)
        except BusyError as reason:
            raise _problem_of(reason) from None
        if middleware.IS_KNOWN in verification:
            self._callers.remember(environ)
        return self._callers.of(environ)

    async def _read(self, environ: WSGIEnvironment, caller: Caller, protocol: Any) -> IO[bytes]:
        """The body of a request. Raises Problem."""
        declared = environ.get("CONTENT_LENGTH", "")
        # hyper has checked that it is a number below 2**64.
        length = int(declared) if declared else None
        if length == 0 or (length is None and "HTTP_TRANSFER_ENCODING" not in environ):
            return io.BytesIO()
        limit = settings.MEMORYHUB.max_body_bytes if environ["PATH_INFO"].startswith("/api/") else MAX_FORM_BYTES
        try:
            if length is not None and length > limit and environ.get("HTTP_EXPECT", "").lower() == "100-continue":
                raise bodies.TooLargeError
            if length is not None and length <= MAX_FORM_BYTES:
                return await bodies.read(protocol, length=length, limit=limit)
            async with self._uploads.taken(caller):
                return await bodies.read(protocol, length=length, limit=limit)
        except bodies.TooSlowError:
            close = {"Connection": "close"}
            raise Problem(408, "request_timeout", "The body did not arrive in time.", headers=close) from None
        except bodies.IncompleteError:
            raise Problem(400, "bad_request", "The body is shorter than its Content-Length says.") from None
        except bodies.TooLargeError:
            raise Problem(413, "too_large", f"The body is larger than {limit:,} bytes.") from None
        except BusyError as reason:
            raise _problem_of(reason) from None

    async def _answer(self, environ: WSGIEnvironment, caller: Caller, protocol: Any) -> None:
        loop = asyncio.get_running_loop()
        with environ["wsgi.input"]:
            try:
                async with self._threads.taken(caller):
                    await loop.run_in_executor(self._pool, self._run, environ, protocol, loop)
            except BusyError as reason:
                self._refuse(protocol, environ, _problem_of(reason))

    def _run(self, environ: WSGIEnvironment, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Answer in a thread of the pool, to which the connection with the database belongs."""
        made = answer(self._django, environ)
        if made.status == HTTPStatus.UNAUTHORIZED:
            loop.call_soon_threadsafe(self._callers.forget, environ)
        if made.parts is None:
            loop.call_soon_threadsafe(_send, protocol, made)
        else:
            _send_parts(protocol, made, made.parts, loop)

    def _refuse(self, protocol: Any, environ: WSGIEnvironment, problem: Problem) -> None:
        """Answer with a problem, which Django's middleware puts into the form of all answers; no view is asked."""
        _send(protocol, answer(self._django, {**environ, middleware.REFUSAL: problem}))


def _send(protocol: Any, made: Answer) -> None:
    protocol.response_bytes(made.status, [*made.headers, KEEP_ALIVE], made.body)


def _send_parts(protocol: Any, made: Answer, parts: Generator[bytes], loop: asyncio.AbstractEventLoop) -> None:
    """Send an answer part by part, as fast as the client reads; cut it off if it reads slower than it may upload.

    What the answer itself takes to be made does not count: the statements have their own limit.
    """

    async def begin() -> Any:
        return protocol.response_stream(made.status, [*made.headers, KEEP_ALIVE])

    async def send(part: bytes) -> None:
        await transport.send_bytes(part)

    transport = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    waited, sent = 0.0, 0
    with closing(parts):
        for part in parts:
            started = time.monotonic()
            sending = asyncio.run_coroutine_threadsafe(send(part), loop)
            try:
                sending.result(max(bodies.seconds_for(sent) - waited, 0))
            except TimeoutError:
                sending.cancel()
                log.warning("answer cut off", sent_bytes=sent)
                return
            waited += time.monotonic() - started
            sent += len(part)


def _problem_of(reason: BusyError) -> Problem:
    after = {"Retry-After": "2"}
    if reason.is_own_doing:
        detail = "This caller has as many requests under way as one caller may have. Try again."
        return Problem(429, "too_many_requests", detail, headers=after)
    return Problem(503, "busy", "All threads are in use. Try again.", headers=after)
