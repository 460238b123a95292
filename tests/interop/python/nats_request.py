"""Sends what stands on stdin over core NATS, as an operator of wasmCloud does, and prints the reply.

Usage: nats_request.py URL SUBJECT
"""

import asyncio
import sys

import nats

PATIENCE_S = 60


async def main(url: str, subject: str) -> None:
    client = await nats.connect(url)
    reply = await client.request(subject, sys.stdin.buffer.read(), timeout=PATIENCE_S)
    print(reply.data.decode())
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
