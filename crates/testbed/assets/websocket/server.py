"""Says back what it is told, and does what it is told to. server.py PORT"""
import asyncio
import sys

from websockets.asyncio.server import serve


async def answer(socket):
    async for message in socket:
        match message:
            case "ping":
                await (await socket.ping(b"from the server"))
                await socket.send("pong")
            case "fragments":
                await socket.send(str(n) * 1000 for n in range(5))
            case "leave":
                await socket.close(4321, "as asked")
            case "break":
                socket.transport.abort()
            case "who":
                await socket.send(socket.request.headers.get("x-greffier-subject", ""))
            case "token":
                await socket.send(socket.request.headers.get("authorization", "none"))
            case _:
                await socket.send(message)


async def main():
    async with serve(answer, "127.0.0.1", int(sys.argv[1]), max_size=None,
                     open_timeout=60, close_timeout=60, ping_interval=None,
                     subprotocols=["echo", "other"]):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
