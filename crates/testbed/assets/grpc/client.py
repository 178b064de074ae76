"""Calls everything of server.py once and prints what came of it as JSON. client.py PORT [TOKEN]"""
import json
import queue
import sys

import grpc

port, token = sys.argv[1], sys.argv[2:]
metadata = [("authorization", f"Bearer {it}") for it in token]
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
out = {}


def told(call):
    trailers = dict(call.trailing_metadata() or ())
    return {"code": call.code().name, "details": call.details(),
            "subject": trailers.get("x-subject"), "token": trailers.get("x-token")}


answer, call = channel.unary_unary("/test.Echo/Say").with_call(b"you", metadata=metadata, timeout=20)
out["say"] = {"answer": answer.decode(), **told(call)}
large = b"x" * 1_000_000
answer, call = channel.unary_unary("/test.Echo/Say").with_call(large, metadata=metadata, timeout=20)
out["large"] = {"bytes": len(answer), **told(call)}
try:
    channel.unary_unary("/test.Echo/Say")(b"fail", metadata=metadata, timeout=20)
except grpc.RpcError as error:
    out["fail"] = told(error)
try:
    channel.unary_unary("/test.Echo/Denied")(b"x", metadata=metadata, timeout=20)
except grpc.RpcError as error:
    out["denied"] = {"code": error.code().name}
call = channel.unary_stream("/test.Echo/Count")(b"5", metadata=metadata, timeout=20)
out["count"] = {"answers": [it.decode() for it in call], **told(call)}
answer, call = channel.stream_unary("/test.Echo/Add").with_call(
    iter([b"1", b"2", b"3"]), metadata=metadata, timeout=20)
out["add"] = {"answer": answer.decode(), **told(call)}
# Each answer is there before the next question is asked.
asked = queue.Queue()
call = channel.stream_stream("/test.Echo/Chat")(iter(asked.get, None), metadata=metadata, timeout=20)
said = []
for word in (b"one", b"two"):
    asked.put(word)
    said.append(next(call).decode())
asked.put(None)
rest = [it.decode() for it in call]
out["chat"] = {"answers": said, "rest": rest, **told(call)}
print(json.dumps(out))
