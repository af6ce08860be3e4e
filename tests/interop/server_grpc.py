"""A gRPC server on grpcio for wakering's client; messages are raw bytes. A line on standard input stops it."""

import concurrent.futures
import sys

import grpc

from report import version


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wished: 100 % ✗")


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Join": grpc.stream_unary_rpc_method_handler(lambda requests, context: b"".join(requests)),
    "Count": grpc.unary_stream_rpc_method_handler(lambda request, context: (b"%d" % n for n in range(int(request)))),
    "Chat": grpc.stream_stream_rpc_method_handler(lambda requests, context: requests),
}

options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=options)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("wakering.Echo", METHODS)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
version(f"grpcio {grpc.__version__}")
print(f"listening on 127.0.0.1:{port}", flush=True)
sys.stdin.readline()
server.stop(30).wait()
