"""A server that does what no sshd does, for tests of what stands before it: USER HOST_KEY OTHER_KEY.

It takes the password in GREFFIER_TEST_PASSWORD, prints its port, and runs these commands:
  echo ...     prints the rest
  rekey same   changes keys, and prints `behind` with the new ones
  rekey other  the same, but shows OTHER_KEY for its host key
  garbage      sends bytes that are no packet
"""

import asyncio
import os
import sys

import asyncssh

USER, HOST_KEY, OTHER_KEY = sys.argv[1:4]
PASSWORD = os.environ["GREFFIER_TEST_PASSWORD"]


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def kbdint_auth_supported(self):
        return False

    def validate_password(self, username, password):
        return username == USER and password == PASSWORD


async def handle(process):
    word, _, rest = process.command.partition(" ")
    connection = process.channel.get_connection()
    if word == "echo":
        process.stdout.write(rest + "\n")
    elif word == "rekey":
        process.stdout.write("before\n")
        await process.stdout.drain()
        if rest == "other":
            # By its name, for want of another way: a server has one set of keys for its life.
            pair = asyncssh.load_keypairs(OTHER_KEY)[0]
            connection._server_host_keys = {pair.algorithm: pair}
        connection._send_kexinit()
        connection._kexinit_sent = True
        while not connection._kex_complete:
            await asyncio.sleep(0.01)
        process.stdout.write("behind\n")
    elif word == "garbage":
        process.stdout.write("before\n")
        await process.stdout.drain()
        connection._transport.write(b"\xff" * 4096)
        await asyncio.sleep(1000)
    process.exit(0)


async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[HOST_KEY], process_factory=handle
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
