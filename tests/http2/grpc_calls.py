"""gRPC by the library everybody uses. `server ADDRESS` serves; `client ADDRESS` asks everything and says what failed.

With TLS: `server ADDRESS CERTIFICATE KEY`, `client ADDRESS AUTHORITY`, all of them files; the server is called weir.test."""
import sys, threading, time
from concurrent import futures
import grpc

NAME = "weir.Echo"
# As many bytes as a message may have in both directions where nobody changes that.
MOST = 4 * 1024 * 1024
plain = lambda data: data
seen_cancelled = threading.Event()


def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "told"),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wish \u2713")
    if request == b"slow":
        context.add_callback(seen_cancelled.set)
        time.sleep(3)
    if request == b"forget":
        seen_cancelled.clear()
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
        if part == b"then fail":
            context.set_trailing_metadata((("x-trailer", "too much"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        yield part[::-1]


def endless(request, context):
    context.add_callback(seen_cancelled.set)
    while context.is_active():
        yield request


def read(name):
    with open(name, "rb") as file:
        return file.read()


def serve(address, certificate=None, key=None):
    server = grpc.server(futures.ThreadPoolExecutor(32))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, plain, plain),
        "Down": grpc.unary_stream_rpc_method_handler(download, plain, plain),
        "Up": grpc.stream_unary_rpc_method_handler(upload, plain, plain),
        "Both": grpc.stream_stream_rpc_method_handler(both, plain, plain),
        "Endless": grpc.unary_stream_rpc_method_handler(endless, plain, plain),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    if certificate is None:
        assert server.add_insecure_port(address)
    else:
        assert server.add_secure_port(address, grpc.ssl_server_credentials([(read(key), read(certificate))]))
    server.start()
    server.wait_for_termination()


def ask(address, authority=None):
    options = (("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", "weir.test"))
    if authority is None:
        channel = grpc.insecure_channel(address, options[:1])
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read(authority)), options)
    call = lambda kind, name: getattr(channel, kind)(f"/{NAME}/{name}", plain, plain)
    one, down = call("unary_unary", "Unary"), call("unary_stream", "Down")
    up, two = call("stream_unary", "Up"), call("stream_stream", "Both")

    answer, about = one.with_call(b"hello", timeout=20)
    assert answer == b"hello" and ("x-trailer", "told") in about.trailing_metadata(), about
    for size in [0, 1, 16_384, MOST]:
        big = b"x" * size
        assert one(big, timeout=20) == big, size
    # One byte more is the server's to refuse, and its word comes through.
    try:
        one(b"x" * (MOST + 1), timeout=20)
        raise SystemExit("it was too long, and yet it went")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
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

    # Four messages of the most bytes, each way, at once; and an end in the middle, with a status in trailers.
    replies = [len(reply) for reply in two((b"z" * MOST for _ in range(4)), timeout=60)]
    assert replies == [MOST] * 4, replies
    call_of = two(iter([b"ab", b"then fail", b"cd"]), timeout=20)
    assert next(call_of) == b"ba"
    try:
        next(call_of)
        raise SystemExit("it went on")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert ("x-trailer", "too much") in error.trailing_metadata(), error

    # A call that is cancelled in the middle of its answer ends at the server, too.
    stream = call("unary_stream", "Endless")(b"more", timeout=60)
    assert next(stream) == b"more"
    stream.cancel()
    assert one(b"was it cancelled?", timeout=20) == b"yes"
    assert one(b"forget", timeout=20) == b"forget"

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


{"server": serve, "client": ask}[sys.argv[1]](*sys.argv[2:])
