"""Interim responses are a sign of life, and as many as long work needs."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.proxy.conftest import Seen, Stage, forward, get, reply

pytestmark = pytest.mark.anyio

PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


async def test_each_interim_response_restarts_the_read_time_out(stage: Stage) -> None:
    async def work(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(PROCESSING)
            await writer.drain()
            await asyncio.sleep(0.15)
        writer.write(reply(b"done"))

    endpoint = await stage.endpoint(work)
    proxy = await stage.proxy(forward(endpoint.port, read_timeout=1.0, retries=0))
    client = await stage.connect(proxy)

    await client.send(get())
    interim = [await client.reader.readuntil(b"\r\n\r\n") for _ in range(10)]

    assert interim == [PROCESSING] * 10
    assert (await client.answer()).body == b"done"


async def test_silence_after_an_interim_response_is_a_504(stage: Stage) -> None:
    async def stop(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PROCESSING)
        await reader.read()

    endpoint = await stage.endpoint(stop)
    proxy = await stage.proxy(forward(endpoint.port, read_timeout=0.2))
    client = await stage.connect(proxy)

    await client.send(get())
    await client.reader.readuntil(b"\r\n\r\n")

    assert (await client.answer()).status == 504


async def test_two_hundred_interim_responses_pass(stage: Stage) -> None:
    async def work(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PROCESSING * 200)
        await writer.drain()
        writer.write(reply(b"done"))

    endpoint = await stage.endpoint(work)
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.send(get())
    for _ in range(200):
        await client.reader.readuntil(b"\r\n\r\n")

    assert (await client.answer()).body == b"done"
