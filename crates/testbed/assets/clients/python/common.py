"""What the Python programs share: the values, and how they are reported."""
import datetime
import decimal
import json
import sys

NAME = "Zoë 雪 ☃ it's \"q\" \\ end"
RAW = b"\x00\xff'\\\x10"
AMOUNT = decimal.Decimal("12345678901234567890.0123456789")
AT = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.timezone.utc)


def text(value):
    """PostgreSQL's text form of a parameter."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f+00")
    return str(value)


def say(sql, params=()):
    print(json.dumps({"sql": sql, "params": [text(p) for p in params]}), flush=True)


def check(got, wanted, what):
    if got != wanted:
        sys.exit(f"{what}: expected {wanted!r}, got {got!r}")
