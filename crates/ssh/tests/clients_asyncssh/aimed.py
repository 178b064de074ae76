"""Runs asyncssh's own tests, with their clients aimed where the caller says.

Arguments: how ("direct" or "through"), a test module of theirs, a class in it or a test of that,
then the names of classes or of class.test that are left out. Their folder is the current one. What came of each test goes to
standard output, a line of JSON for each. The environment says the rest:

AIMED_HOST_KEY   the host key that their server is to have: a file
AIMED_LOGIN_KEY  the public key by which the proxy logs in to their server
AIMED_TARGET     the port on which their server is to listen
AIMED_PROXY      the proxy's port
AIMED_KNOWN      the proxy's host key, a line as in known_hosts without names
AIMED_TOKEN      what the client shows to the proxy
"""

import json
import logging
import os
import shutil
import signal
import sys
import unittest
from unittest.mock import patch

# Their folder is where this runs.
sys.path.insert(0, os.getcwd())

import asyncssh
from asyncssh.connection import SSHClientConnectionOptions
from tests import server as theirs

how, module, *left_out = sys.argv[1:]
env = os.environ.get
through = how == "through"
# Whatever hangs, the others are to be run: so many seconds for a test.
PATIENCE = 30

aimed = int(env("AIMED_PROXY", "0"))


def aim_clients():
    """Every connection to the port that is aimed at is made by our name and token."""
    prepare = SSHClientConnectionOptions.prepare

    def prepared(self, *args, **kwargs):
        prepare(self, *args, **kwargs)
        if self.port != aimed:
            return
        self.username += "+web1"
        self.password = env("AIMED_TOKEN")
        self.preferred_auth = ["password"]

    SSHClientConnectionOptions.prepare = prepared


def aim_servers():
    """The server of a class listens where the proxy looks for it, and lets the proxy in."""
    case = theirs.ServerTestCase
    create = case.create_server.__func__
    set_up = case.asyncSetUpClass.__func__
    listen = asyncssh.listen

    async def create_server(cls, *args, **kwargs):
        if cls._server is not None:
            return await create(cls, *args, **kwargs)
        with open("authorized_keys", "a") as keys:
            keys.write("\n" + env("AIMED_LOGIN_KEY") + "\n")

        def at_the_port(*args, **kwargs):
            kwargs["port"] = int(env("AIMED_TARGET"))
            # Theirs is an RSA key, which the proxy does not take.
            kwargs["server_host_keys"] = [env("AIMED_HOST_KEY")]
            return listen(*args, **kwargs)

        with patch("asyncssh.listen", at_the_port):
            return await create(cls, *args, **kwargs)

    async def asyncSetUpClass(cls):
        await set_up(cls)
        cls._server_port = aimed
        trust_the_aim()

    case.create_server = classmethod(create_server)
    case.asyncSetUpClass = classmethod(asyncSetUpClass)


def trust_the_aim():
    with open("known_hosts", "a") as known:
        known.write(f"\n[127.0.0.1]:{aimed},[localhost]:{aimed},localhost {env('AIMED_KNOWN')}\n")
    shutil.copy("known_hosts", ".ssh/known_hosts")


class Results(unittest.TestResult):
    """What came of each test; subtests count for their test."""

    def __init__(self):
        super().__init__()
        self.came = {}

    def came_of(self, test, what, why=None):
        test = getattr(test, "test_case", test)
        name = test.id().removeprefix("tests.")
        self.came[name] = max(self.came.get(name, ""), what)
        if why is not None:
            print(how, name, what, self._exc_info_to_string(why, test), file=sys.stderr)

    def startTest(self, test):
        signal.alarm(PATIENCE)

    def stopTest(self, test):
        signal.alarm(0)

    def addSuccess(self, test):
        self.came_of(test, "")

    def addSkip(self, test, reason):
        self.came_of(test, "skipped")

    def addFailure(self, test, err):
        self.came_of(test, "failed", err)

    def addError(self, test, err):
        self.came_of(test, "failed", err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.came_of(test, "failed", err)


def chosen(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test)
            continue
        cls, name = test.id().split(".")[-2:]
        if cls not in left_out and f"{cls}.{name}" not in left_out:
            yield test


def stop(*_):
    raise TimeoutError("the test takes too long")


signal.signal(signal.SIGALRM, stop)
asyncssh.set_log_level("CRITICAL")
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
if through:
    aim_servers()
    aim_clients()
tests = unittest.TestSuite(chosen(unittest.defaultTestLoader.loadTestsFromName(f"tests.{module}")))
results = Results()
tests.run(results)
for name, what in results.came.items():
    print(json.dumps([name, what or "passed"]))
