"""paramiko: commands, a terminal, files and a forward. Arguments: # Whatever hangs, the test is not to.
signal.alarm(60)
port, user, known_hosts, folder,
a port that answers in capitals. The token comes in GREFFIER_TEST_TOKEN."""

import hashlib
import os
import signal
import sys

import paramiko

port, user, known_hosts, folder, upper = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
keys = client.get_host_keys()
for kind, key in keys["gw"].items():
    keys.add(f"[127.0.0.1]:{port}", kind, key)
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect(
    "127.0.0.1",
    int(port),
    user,
    os.environ["GREFFIER_TEST_TOKEN"],
    allow_agent=False,
    look_for_keys=False,
)


def run(line, stdin=b""):
    into, out, err = client.exec_command(line)
    into.write(stdin)
    into.channel.shutdown_write()
    return out.read(), err.read(), out.channel.recv_exit_status()


assert run("echo out; echo err >&2; exit 5") == (b"out\n", b"err\n", 5)
content = os.urandom(2_000_000)
assert run("cat", content) == (content, b"", 0)
print("cat", hashlib.sha256(content).hexdigest())

shell = client.invoke_shell("vt100", 90, 33)
shell.send(b"stty size; exit 6\n")
said = b""
while piece := shell.recv(4096):
    said += piece
assert b"33 90" in said, said
assert shell.recv_exit_status() == 6

sftp = client.open_sftp()
at = lambda name: f"{folder}/{name}"
with sftp.open(at("file"), "wb") as file:
    file.set_pipelined(True)
    file.write(content)
assert sftp.stat(at("file")).st_size == len(content)
with sftp.open(at("file"), "rb") as file:
    file.prefetch()
    assert file.read() == content
sftp.mkdir(at("sub"))
sftp.posix_rename(at("file"), at("sub/moved"))
sftp.symlink(at("sub/moved"), at("link"))
assert sftp.readlink(at("link")) == at("sub/moved")
sftp.chmod(at("sub/moved"), 0o600)
assert sftp.listdir(at("sub")) == ["moved"]
sftp.remove(at("link"))
sftp.remove(at("sub/moved"))
sftp.rmdir(at("sub"))
try:
    sftp.stat(at("sub"))
    raise AssertionError("it is still there")
except FileNotFoundError:
    pass
sftp.close()

forward = client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", int(upper)), ("127.0.0.1", 1))
forward.sendall(b"hello")
forward.shutdown_write()
said = b""
while piece := forward.recv(100):
    said += piece
assert said == b"HELLO", said
client.close()
