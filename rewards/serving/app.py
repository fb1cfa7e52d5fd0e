"""The FastAPI application of a reward service: bodies in, replies out. Texts are never logged.

Bodies are read by the project's own strict JSON reader (no repeated keys, no half characters, no huge numbers, bounded
nesting) under limits on bytes and time, and checked by each protocol's pydantic model, which the OpenAPI schema shows.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from rewards.files.values import json_value
from rewards.serving.form import BadRequest, Form
from rewards.serving.forms import by_path
from rewards.serving.queue import Busy
from rewards.serving.service import Service
from rewards.types import Score

_logger = logging.getLogger(__name__)

_LARGE = 65536  # bytes

CLIENT_LEFT = 499
"""The status under which a request is counted whose client left; nobody sees it."""

_STATUSES = {
    400: "The body is not a request of this protocol.",
    401: "The bearer token is missing or wrong.",
    408: "The body took too long to arrive.",
    413: "The request is too large.",
    422: "Every score of the request failed, or this reward cannot answer this request.",
    429: "The queue is full: try again after Retry-After seconds.",
    503: "The service is starting, stopping or too slow: try again after Retry-After seconds.",
}


class Unauthorized(Exception):
    """The bearer token is missing or wrong."""


def make_app(service: Service, token: str | None = None) -> FastAPI:
    """The application. `token`: clients must send it as `Authorization: Bearer TOKEN`; None: anybody may ask."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    app = FastAPI(title="Rewardloop reward service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    guard = _Guard(service, token)

    @app.get("/health", summary="The process is alive.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="The reward is loaded and takes requests.", responses={503: {"description": "Not yet."}})
    async def ready() -> Response:
        try:
            service.check_ready()
        except Busy as error:
            return _reply({"status": str(error)}, 503, error.retry_s)
        return _reply({"status": "ready", "reward": service.name})

    @app.get(
        "/metrics",
        summary="Prometheus metrics.",
        responses={401: {"description": _STATUSES[401]}, 200: {"content": {"text/plain": {}}}},
        response_class=Response,
    )
    async def metrics(request: Request) -> Response:
        try:
            guard.check_token(request)
        except Unauthorized:
            return _unauthorized({"detail": _STATUSES[401]})
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, forms in by_path().items():
        app.add_api_route(
            path,
            _endpoint(guard, forms),
            methods=["POST"],
            name=forms[0].name,
            summary=" ".join(form.says for form in forms),
            openapi_extra=_described(forms),
            responses={
                status: {"description": text, "content": {"application/json": {}}} for status, text in _STATUSES.items()
            },
            response_class=Response,
        )
    app.state.service = service
    return app


class _Guard:
    """Reads and answers requests under the service's limits."""

    def __init__(self, service: Service, token: str | None) -> None:
        self.service = service
        self._token = None if token is None else token.encode()
        self._bytes = 0  # of bodies that are being answered

    def check_token(self, request: Request) -> None:
        """Raise Unauthorized unless the request has the token."""
        if self._token is None:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Unauthorized

    async def answer(self, request: Request, forms: Sequence[Form]) -> tuple[Form, Response]:
        """The reply to a request, and the form that it is in."""
        form, held = forms[0], _Held(self)
        try:
            self.check_token(request)
            self.service.check_ready()
            body = await self._body(request, held)
            # Reading takes time in proportion to the body: a large one must not hold up the others.
            read = partial(self._read, body, forms)
            form, fault, *found = await asyncio.to_thread(read) if len(body) > _LARGE else read()
            if fault is not None:
                raise fault
            asked, reading, tokens = found
            scores = await _unless_left(request, self.service.scores(reading))
            if scores is None:
                self.service.metrics.vanished.inc()
                return form, Response(status_code=CLIENT_LEFT)
            if scores and not form.tells_failures and not any(score.ok for score in scores):
                return form, _reply(form.error(422, _reasons(scores)), 422)
            return form, _reply(form.reply(asked, scores, self.service.name, tokens))
        except ClientDisconnect:
            self.service.metrics.vanished.inc()
            return form, Response(status_code=CLIENT_LEFT)
        except Unauthorized:
            return form, _unauthorized(form.error(401, _STATUSES[401]))
        except BadRequest as error:
            return form, _reply(form.error(error.status, str(error)), error.status)
        except Busy as error:
            return form, _reply(form.error(error.status, str(error)), error.status, error.retry_s)
        except Exception as error:  # a fault of ours: said without the request's texts
            _logger.exception("%s failed", request.url.path)
            return form, _reply(form.error(500, f"the service failed: {type(error).__name__}"), 500)
        finally:
            held.release()

    def _read(self, body: bytes, forms: Sequence[Form]) -> tuple[Any, ...]:
        """The form of a body and None, then the request, its reading and its tokens; or the form and what is wrong."""
        form = forms[0]
        try:
            value = _value(body)
            form = next((one for one in forms if one.takes(value)), form)
            return form, None, *self.service.read(form, value)
        except BadRequest as error:
            return form, error

    async def _body(self, request: Request, held: _Held) -> bytes:
        """The whole body. Raises BadRequest if it is too large or too slow, Busy if all bodies together are."""
        most = self.service.limits.body_bytes
        try:
            declared = int(request.headers.get("content-length", "0"))
        except ValueError:
            declared = 0
        if declared > most:
            raise BadRequest(f"the body has {declared} bytes: at most {most}", 413)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self.service.limits.body_s):
                async for chunk in request.stream():
                    held.take(len(chunk))
                    chunks.append(chunk)
                    if held.bytes > most:
                        raise BadRequest(f"the body has more than {most} bytes", 413)
        except TimeoutError:
            raise BadRequest(f"the body did not arrive within {self.service.limits.body_s:g} s", 408) from None
        return b"".join(chunks)


class _Held:
    """The bytes of one body, counted with all others."""

    def __init__(self, guard: _Guard) -> None:
        self.guard, self.bytes = guard, 0

    def take(self, count: int) -> None:
        """Count more bytes. Raises Busy if there are too many of all bodies."""
        self.bytes += count
        self.guard._bytes += count
        if self.guard._bytes > self.guard.service.limits.held_bytes:
            raise Busy("too many requests at a time", 429)

    def release(self) -> None:
        """Count them no longer."""
        self.guard._bytes -= self.bytes


def _endpoint(guard: _Guard, forms: Sequence[Form]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def endpoint(request: Request) -> Response:
        started = time.monotonic()
        form, response = await guard.answer(request, forms)
        metrics = guard.service.metrics
        metrics.requests.labels(form.name, str(response.status_code)).inc()
        metrics.seconds.observe(time.monotonic() - started)
        return response

    return endpoint


async def _unless_left(request: Request, work: Coroutine[Any, Any, list[Score]]) -> list[Score] | None:
    """The result of `work`; None, with the work cancelled, if the client goes away first."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return None
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _value(body: bytes) -> Any:
    """The JSON value of a body. Raises BadRequest."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    try:
        value = json_value(text)
    except ValueError as error:
        raise BadRequest(f"the body: {error}") from None
    if "NaN" in text and _has_nan(value):
        raise BadRequest("the body has the number NaN")
    return value


def _has_nan(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, float) and math.isnan(value)) or any(map(_has_nan, inner))


def _reasons(scores: Sequence[Score]) -> str:
    """Why the scores failed, each reason once."""
    return "; ".join(dict.fromkeys(score.failure for score in scores if score.failure))


def _reply(content: Any, status: int = 200, retry_s: float | None = None) -> Response:
    headers = {} if retry_s is None else {"Retry-After": str(math.ceil(retry_s))}
    body = json.dumps(content, allow_nan=False).encode()
    return Response(body, status, headers, media_type="application/json")


def _unauthorized(content: Any) -> Response:
    response = _reply(content, 401)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _described(forms: Sequence[Form]) -> dict[str, Any]:
    """The request bodies of a path for the OpenAPI schema."""
    schemas = [_inline(form.request.model_json_schema()) for form in forms]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with its definitions in place of the references to them."""
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(definitions[node["$ref"].rpartition("/")[2]])
            return {name: resolved(value) for name, value in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    return dict(resolved(schema))
