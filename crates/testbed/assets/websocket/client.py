"""Uses everything of server.py and prints what came of it as JSON. client.py PORT [TOKEN]"""
import asyncio
import hashlib
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

port, token = sys.argv[1], sys.argv[2:]
headers = {"Authorization": f"Bearer {it}" for it in token}
out = {}


def opened(**more):
    return connect(f"ws://127.0.0.1:{port}/socket?x=1", additional_headers=headers, proxy=None,
                   subprotocols=["echo"], max_size=None, open_timeout=60, close_timeout=60,
                   ping_interval=None, **more)


async def ask(socket, message):
    await socket.send(message)
    return await socket.recv()


async def ended(socket, message):
    try:
        await ask(socket, message)
    except ConnectionClosed as error:
        return {"code": error.rcvd.code, "reason": error.rcvd.reason} if error.rcvd else "cut"


def noise(size):
    return hashlib.shake_128(b"noise").digest(size)


async def main():
    async with opened() as socket:
        out["subprotocol"] = socket.subprotocol
        out["extensions"] = [it.name for it in socket.protocol.extensions]
        out["text"] = await ask(socket, "grüße \u2028 \U0001f600")
        out["empty"] = [await ask(socket, ""), (await ask(socket, b"")).hex()]
        out["binary"] = (await ask(socket, bytes(range(256)))).hex()
        # Lengths around those where a frame's head changes.
        out["sizes"] = [len(await ask(socket, noise(n))) for n in
                        (1, 125, 126, 127, 65535, 65536, 65537)]
        await socket.send(part * 700 for part in ("a", "b", "c"))
        out["fragmented"] = hashlib.sha256((await socket.recv()).encode()).hexdigest()
        await socket.send("fragments")
        out["fragments"] = [len(part) async for part in socket.recv_streaming()]
        await (await socket.ping(b"from the client"))
        out["ping"] = await ask(socket, "ping")
        large = noise(8 << 20)
        out["large"] = await ask(socket, large) == large
        for n in range(500):
            await socket.send(str(n))
        out["in order"] = [await socket.recv() for _ in range(500)] == [str(n) for n in range(500)]
        out["who"], out["token"] = await ask(socket, "who"), await ask(socket, "token")
        await socket.close(3210, "enough")
        out["closed"] = [socket.close_code, socket.close_reason]
    async with opened(compression=None) as socket:
        out["plain"] = [len(socket.protocol.extensions), await ask(socket, "plain")]
        out["leave"] = await ended(socket, "leave")
    async with opened() as socket:
        out["break"] = await ended(socket, "break")
    sockets = await asyncio.gather(*(opened() for _ in range(40)))
    answers = await asyncio.gather(*(ask(it, str(n)) for n, it in enumerate(sockets)))
    out["at once"] = answers == [str(n) for n in range(40)]
    await asyncio.gather(*(it.close() for it in sockets))
    try:
        async with connect(f"ws://127.0.0.1:{port}/socket", proxy=None,
                           additional_headers={"Authorization": "Bearer x.y.z"}):
            out["stranger"] = "let in"
    except InvalidStatus as error:
        out["stranger"] = error.response.status_code


asyncio.run(asyncio.wait_for(main(), 100))
print(json.dumps(out))
