"""One call, with each of the HTTP clients that OpenTelemetry instruments."""

from __future__ import annotations

import asyncio
import urllib.request

import aiohttp
import httpx
import requests
import urllib3


def _httpx(url: str) -> str:
    return httpx.get(url).text


def _httpx_async(url: str) -> str:
    async def get() -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(url)).text

    return asyncio.run(get())


def _requests(url: str) -> str:
    return requests.get(url, timeout=30).text


def _aiohttp(url: str) -> str:
    async def get() -> str:
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return await answer.text()

    return asyncio.run(get())


def _urllib3(url: str) -> str:
    return urllib3.PoolManager().request("GET", url).data.decode()


def _urllib(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


CLIENTS = {
    "httpx": _httpx,
    "httpx-async": _httpx_async,
    "requests": _requests,
    "aiohttp": _aiohttp,
    "urllib3": _urllib3,
    "urllib": _urllib,
}
