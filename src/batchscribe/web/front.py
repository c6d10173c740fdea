"""The HTTP front: how uvicorn is to serve the application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import uvicorn

from batchscribe.web.connection import GuardedProtocol
from batchscribe.web.limits import FrontLimits

if TYPE_CHECKING:
    import asyncio

    from fastapi import FastAPI


def uvicorn_config(
    app: FastAPI, *, host: str, port: int, limits: FrontLimits | None = None, graceful_seconds: int = 30
) -> uvicorn.Config:
    """Return how uvicorn is to serve the application; logging is left as the process has set it up.

    On shutdown, clients that wait for a job are answered at once; uploads have ``graceful_seconds`` to end.
    """
    limits = limits or FrontLimits()
    protocol = partial(GuardedProtocol, limits=limits, on_shutdown=app.state.job_watch.release)
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=round(limits.idle_seconds),
        timeout_graceful_shutdown=graceful_seconds,
    )
