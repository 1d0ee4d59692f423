"""gRPC by the library everybody uses. `server ADDRESS` serves; `client ADDRESS` asks everything and says what failed."""
import sys, threading, time
from concurrent import futures
import grpc

NAME = "weir.Echo"
plain = lambda data: data
seen_cancelled = threading.Event()


def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "told"),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wish \u2713")
    if request == b"slow":
        context.add_callback(seen_cancelled.set)
        time.sleep(3)
    if request == b"was it cancelled?":
        return b"yes" if seen_cancelled.wait(5) else b"no"
    return request


def download(request, context):
    for n in range(int(request)):
        yield b"%d" % n


def upload(requests, context):
    return b"%d" % sum(len(part) for part in requests)


def both(requests, context):
    for part in requests:
        yield part[::-1]


def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(32))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, plain, plain),
        "Down": grpc.unary_stream_rpc_method_handler(download, plain, plain),
        "Up": grpc.stream_unary_rpc_method_handler(upload, plain, plain),
        "Both": grpc.stream_stream_rpc_method_handler(both, plain, plain),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    assert server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def ask(address):
    channel = grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),))
    call = lambda kind, name: getattr(channel, kind)(f"/{NAME}/{name}", plain, plain)
    one, down = call("unary_unary", "Unary"), call("unary_stream", "Down")
    up, two = call("stream_unary", "Up"), call("stream_stream", "Both")

    answer, about = one.with_call(b"hello", timeout=20)
    assert answer == b"hello" and ("x-trailer", "told") in about.trailing_metadata(), about
    big = b"x" * 3_000_000
    assert one(big, timeout=20) == big
    try:
        one(b"fail", timeout=20)
        raise SystemExit("it did not fail")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
        assert error.details() == "as you wish \u2713", error
    assert [int(part) for part in down(b"1000", timeout=20)] == list(range(1000))
    assert up((b"y" * 10_000 for _ in range(300)), timeout=20) == b"3000000"

    # Each part goes out only once the one before has come back.
    turn, replies = threading.Semaphore(1), []
    def parts():
        for n in range(50):
            turn.acquire()
            yield b"<%d" % n
    for reply in two(parts(), timeout=20):
        replies.append(reply)
        turn.release()
    assert replies == [(b"<%d" % n)[::-1] for n in range(50)], replies

    # A deadline that passes is passed on.
    try:
        one(b"slow", timeout=0.3)
        raise SystemExit("it was not in time, and yet it was")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert one(b"was it cancelled?", timeout=20) == b"yes"

    with futures.ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda n: one(b"%d" % n, timeout=20), range(400)))
    assert answers == [b"%d" % n for n in range(400)]
    print("all is well")


{"server": serve, "client": ask}[sys.argv[1]](sys.argv[2])
