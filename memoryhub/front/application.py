"""The RSGI application that granian's workers serve: read a request, wait for a thread, respond in the thread."""

import asyncio
import io
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http import HTTPStatus
from typing import IO, Any
from wsgiref.types import WSGIEnvironment

import structlog
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from granian.rsgi import ProtocolClosed

from memoryhub import middleware
from memoryhub.api.problems import ProblemError
from memoryhub.config import MAX_IDLE_SECONDS
from memoryhub.front import bodies
from memoryhub.front.callers import CallerRegistry
from memoryhub.front.gateway import GatewayResponse, RsgiScope, build_environ, call_application
from memoryhub.front.turns import BusyError, Caller, FairSemaphore

MAX_FORM_BYTES = 64 * 2**10
"""The longest body of a request outside the API."""
MAX_CONCURRENT_UPLOADS = 32
"""How many bodies longer than MAX_FORM_BYTES are read at a time."""
THREAD_SWITCH_SECONDS = 0.001
"""How long a thread keeps the GIL while the event loop, which answers `/health`, waits for it."""
KEEP_ALIVE_HEADER = ("Keep-Alive", f"timeout={MAX_IDLE_SECONDS - 5}")
"""Announces the idle timeout to clients, a little short, so that no request meets a connection that is being closed."""

log = structlog.get_logger(__name__)


class Application:
    """The RSGI application; granian calls it for each request in the event loop of a worker."""

    def __init__(self, django: WSGIHandler, *, threads: int) -> None:
        self._django = django
        self._known_callers = CallerRegistry()
        self._thread_slots = FairSemaphore(threads, max_per_group=max(1, threads // 2))
        self._upload_slots = FairSemaphore(MAX_CONCURRENT_UPLOADS, max_per_group=MAX_CONCURRENT_UPLOADS // 2)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._running_tasks: set[asyncio.Task[None]] = set()

    def __rsgi_init__(self, _loop: asyncio.AbstractEventLoop) -> None:
        sys.setswitchinterval(THREAD_SWITCH_SECONDS)

    async def __rsgi__(self, scope: RsgiScope, protocol: Any) -> None:
        environ = build_environ(scope)
        if scope.path == "/health":
            # `middleware.HealthCheckMiddleware` answers without database or session, so no thread is needed.
            await _drop_body(environ, protocol)
            _send_response(protocol, call_application(self._django, environ))
            return
        try:
            caller = await self._identify_caller(environ, protocol)
            environ["wsgi.input"] = await self._read_body(environ, caller, protocol)
        except ProblemError as problem:
            self._send_problem(protocol, environ, problem)
            return
        # A task of its own: it keeps its thread to the end, even if the client disconnects.
        task = asyncio.create_task(self._respond(environ, caller, protocol))
        self._running_tasks.add(task)
        task.add_done_callback(self._running_tasks.discard)
        await asyncio.shield(task)

    async def _identify_caller(self, environ: WSGIEnvironment, protocol: Any) -> Caller:
        """Return the caller whose share of the threads the request uses. Raises ProblemError.

        An unknown key or session is verified in a thread, in the share of the unverified callers. The result is
        remembered if the credential is valid.
        """
        unverified_caller = self._known_callers.get_caller(environ)
        if not self._known_callers.needs_verification(environ):
            return unverified_caller
        verification_environ = {**environ, middleware.CHECK_CREDENTIAL_ONLY: True}
        try:
            async with self._thread_slots.hold_slot(unverified_caller):
                await asyncio.get_running_loop().run_in_executor(
                    self._pool, call_application, self._django, verification_environ
                )
        except BusyError as error:
            await _drop_body(environ, protocol)
            raise _problem_from_busy_error(error) from None
        if middleware.AUTHENTICATED_AS in verification_environ:
            self._known_callers.remember_credential(environ, verification_environ[middleware.AUTHENTICATED_AS])
        return self._known_callers.get_caller(environ)

    async def _read_body(self, environ: WSGIEnvironment, caller: Caller, protocol: Any) -> IO[bytes]:
        """Read the body of a request. Raises ProblemError."""
        declared_length = environ.get("CONTENT_LENGTH", "")
        # hyper has checked that it is a number below 2**64.
        length = int(declared_length) if declared_length else None
        if length == 0 or (length is None and "HTTP_TRANSFER_ENCODING" not in environ):
            return io.BytesIO()
        limit = settings.APP_CONFIG.max_body_bytes if environ["PATH_INFO"].startswith("/api/") else MAX_FORM_BYTES
        try:
            if length is not None and length > limit:
                await _drop_body(environ, protocol)
                raise bodies.TooLargeError
            if length is not None and length <= MAX_FORM_BYTES:
                return await bodies.read_body(protocol, length=length, max_bytes=limit)
            async with self._upload_slots.hold_slot(caller):
                return await bodies.read_body(protocol, length=length, max_bytes=limit)
        except bodies.TooSlowError:
            close_headers = {"Connection": "close"}
            raise ProblemError(
                408, "request_timeout", "The body did not arrive in time.", headers=close_headers
            ) from None
        except bodies.IncompleteError:
            raise ProblemError(400, "bad_request", "The body is shorter than its Content-Length says.") from None
        except bodies.TooLargeError:
            raise ProblemError(413, "too_large", f"The body is larger than {limit:,} bytes.") from None
        except BusyError as error:
            await _drop_body(environ, protocol)
            raise _problem_from_busy_error(error) from None

    async def _respond(self, environ: WSGIEnvironment, caller: Caller, protocol: Any) -> None:
        loop = asyncio.get_running_loop()
        with environ["wsgi.input"]:
            try:
                async with self._thread_slots.hold_slot(caller):
                    await loop.run_in_executor(self._pool, self._respond_in_thread, environ, protocol, loop)
            except BusyError as error:
                self._send_problem(protocol, environ, _problem_from_busy_error(error))

    def _respond_in_thread(self, environ: WSGIEnvironment, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Respond in a thread of the pool; database connections belong to these threads."""
        response = call_application(self._django, environ)
        if response.status == HTTPStatus.UNAUTHORIZED:
            loop.call_soon_threadsafe(self._known_callers.forget_credential, environ)
        if response.parts is None:
            loop.call_soon_threadsafe(_send_response, protocol, response)
        else:
            _send_parts(protocol, response, response.parts, loop)

    def _send_problem(self, protocol: Any, environ: WSGIEnvironment, problem: ProblemError) -> None:
        """Let Django's middleware render a problem like any other response, without calling a view."""
        _send_response(protocol, call_application(self._django, {**environ, middleware.REFUSAL: problem}))


async def _drop_body(environ: WSGIEnvironment, protocol: Any) -> None:
    """Read and drop the body of a refused request, unless the client waits for permission to send it."""
    if "CONTENT_LENGTH" in environ and environ.get("HTTP_EXPECT", "").lower() != "100-continue":
        await bodies.drop_body(protocol)


def _send_response(protocol: Any, response: GatewayResponse) -> None:
    protocol.response_bytes(response.status, [*response.headers, KEEP_ALIVE_HEADER], response.body)


def _send_parts(
    protocol: Any, response: GatewayResponse, parts: Generator[bytes], loop: asyncio.AbstractEventLoop
) -> None:
    """Send a response in parts, as fast as the client reads; cut it off if the client is slower than an upload may be.

    The time to produce the parts does not count: statements have their own timeout. A client that disconnects ends it.
    """

    async def begin_stream() -> Any:
        return protocol.response_stream(response.status, [*response.headers, KEEP_ALIVE_HEADER])

    async def send_part(part: bytes) -> None:
        await transport.send_bytes(part)

    waited_seconds, sent_bytes = 0.0, 0
    with closing(parts), suppress(ProtocolClosed):
        transport = asyncio.run_coroutine_threadsafe(begin_stream(), loop).result()
        for part in parts:
            started_at = time.monotonic()
            send_future = asyncio.run_coroutine_threadsafe(send_part(part), loop)
            try:
                send_future.result(max(bodies.compute_timeout_seconds(sent_bytes) - waited_seconds, 0))
            except TimeoutError:
                send_future.cancel()
                log.warning("answer cut off", sent_bytes=sent_bytes)
                return
            waited_seconds += time.monotonic() - started_at
            sent_bytes += len(part)


def _problem_from_busy_error(error: BusyError) -> ProblemError:
    retry_headers = {"Retry-After": "2"}
    if error.is_caller_at_limit:
        detail = "This caller has reached its limit of concurrent requests. Try again."
        return ProblemError(429, "too_many_requests", detail, headers=retry_headers)
    return ProblemError(503, "busy", "All threads are in use. Try again.", headers=retry_headers)
