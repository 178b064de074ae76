"""asyncssh: many commands at once, a terminal that changes its size, signals, files, forwards of
each kind. Arguments: port, user, known_hosts, folder, a port that answers in capitals. The token
comes in GREFFIER_TEST_TOKEN."""

import asyncio
import hashlib
import os
import signal
import sys

import asyncssh

port, user, known_hosts, folder, upper = sys.argv[1:]


async def hello(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    writer.write_eof()
    said = await reader.read()
    writer.close()
    assert said == b"HELLO", said


async def commands(connection):
    got = await connection.run("echo out; echo err >&2; exit 5")
    assert (got.stdout, got.stderr, got.exit_status) == ("out\n", "err\n", 5)
    got = await connection.run("kill -KILL $$")
    assert got.exit_signal[0] == "KILL", got.exit_signal
    content = os.urandom(2_000_000)
    got = await connection.run("cat", input=content, encoding=None)
    assert got.stdout == content
    print("cat", hashlib.sha256(content).hexdigest())
    many = (connection.run(f"echo {n}; sleep 0.2; echo {n}") for n in range(20))
    for n, got in enumerate(await asyncio.gather(*many)):
        assert got.stdout == f"{n}\n{n}\n"
    # A signal that the client sends: sshd hands it on unless it serves root.
    async with connection.create_process("echo up; read line; exit 9") as process:
        assert await process.stdout.readline() == "up\n"
        process.send_signal("TERM")
        process.stdin.write_eof()
        await process.wait()
    assert process.exit_status == 9 or process.exit_signal[0] == "TERM"


async def terminal(connection):
    async with connection.create_process(term_type="vt100", term_size=(90, 33)) as process:
        process.stdin.write("stty size\n")
        said = ""
        while "33 90" not in said:
            said += await process.stdout.read(4096)
        process.change_terminal_size(70, 22)
        process.stdin.write("stty size\n")
        while "22 70" not in said:
            said += await process.stdout.read(4096)
        process.stdin.write("exit 6\n")
        await process.wait()
    assert process.exit_status == 6


async def files(connection):
    content = os.urandom(1_000_000)
    mine = f"{folder}/mine"
    with open(mine, "wb") as file:
        file.write(content)
    async with connection.start_sftp_client() as sftp:
        await sftp.mkdir(f"{folder}/far")
        await sftp.put(mine, f"{folder}/far/a")
        await sftp.copy(f"{folder}/far/a", f"{folder}/far/b")
        await sftp.get(f"{folder}/far/b", f"{folder}/back")
        with open(f"{folder}/back", "rb") as file:
            assert file.read() == content
        names = sorted(name for name in await sftp.listdir(f"{folder}/far") if name[0] != ".")
        assert names == ["a", "b"], names
        async with sftp.open(f"{folder}/far/a", "r+b") as file:
            await file.seek(500_000)
            assert await file.read(10) == content[500_000:500_010]
        await sftp.rmtree(f"{folder}/far")
    await asyncssh.scp(mine, (connection, f"{folder}/scp"))
    await asyncssh.scp((connection, f"{folder}/scp"), f"{folder}/scp-back")
    with open(f"{folder}/scp-back", "rb") as file:
        assert file.read() == content


async def forwards(connection):
    listener = await connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", int(upper))
    await hello(listener.get_port())
    listener.close()
    listener = await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", int(upper))
    await hello(listener.get_port())
    listener.close()
    await listener.wait_closed()
    listener = await connection.forward_socks("127.0.0.1", 0)
    listener.close()


async def main():
    with open(known_hosts) as lines:
        trusted = [asyncssh.import_public_key(line.split(" ", 1)[1]) for line in lines]
    async with asyncssh.connect(
        "127.0.0.1",
        int(port),
        username=user,
        password=os.environ["GREFFIER_TEST_TOKEN"],
        known_hosts=(trusted, [], []),
        client_keys=None,
        agent_path=None,
        config=None,
    ) as connection:
        await commands(connection)
        await terminal(connection)
        await files(connection)
        await forwards(connection)


# Whatever hangs, the test is not to.
signal.alarm(60)
asyncio.run(main())
