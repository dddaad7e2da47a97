"""The last one: an aiohttp server."""

from __future__ import annotations

import os
import sys

import aiohttp
from aiohttp import web


async def work(request: web.Request) -> web.Response:
    client = request.match_info["client"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{os.environ['ARCHIVE']}/archive-{client}"),
    ):
        return web.json_response({"baggage": request.headers.get("baggage")})


async def ready(_: web.Request) -> web.Response:
    return web.Response(text="yes")


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/work/{client}", work), web.get("/ready", ready)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
