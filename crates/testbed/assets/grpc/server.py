"""A gRPC service without generated code: messages are bytes. server.py PORT"""
import sys
import time
from concurrent import futures

import grpc


def seen(context):
    """Who the proxy says is asking goes back behind the answer."""
    fields = dict(context.invocation_metadata())
    context.set_trailing_metadata((
        ("x-subject", fields.get("x-greffier-subject", "nobody")),
        ("x-token", "yes" if "authorization" in fields else "no"),
    ))


def say(request, context):
    seen(context)
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    return b"hello " + request


def count(request, context):
    seen(context)
    for number in range(int(request)):
        yield str(number).encode()
        time.sleep(0.02)


def add(requests, context):
    seen(context)
    return str(sum(int(it) for it in requests)).encode()


def chat(requests, context):
    seen(context)
    for request in requests:
        yield request + b"!"


handlers = grpc.method_handlers_generic_handler("test.Echo", {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Add": grpc.stream_unary_rpc_method_handler(add),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
})
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((handlers,))
if server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}") == 0:
    sys.exit("the port is taken")
server.start()
server.wait_for_termination()
