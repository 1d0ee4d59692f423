"""A WebSocket server and client of other people's making (PyPI: websockets).

    talk.py server HOST PORT [CERTIFICATE]     serves until it is ended; sends back what it gets
    talk.py client URL [AUTHORITY]             talks, and ends with status 0 if all came back
"""

import ssl
import sys

from websockets.sync.client import connect
from websockets.sync.server import serve


def echo(connection):
    for message in connection:
        connection.send(message)


def server(host, port, certificate=None):
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with serve(echo, host, int(port), ssl=context, max_size=None) as serving:
        serving.serve_forever()


def client(url, authority=None):
    context = ssl.create_default_context(cafile=authority) if authority else None
    extra = {"ssl": context, "server_hostname": "weir.test"} if authority else {}
    with connect(url, max_size=None, **extra) as connection:
        messages = ["hello", "", "ü" * 1000, bytes(range(256)) * 40_000] + [str(n) for n in range(500)]
        for message in messages:
            connection.send(message)
            assert connection.recv(timeout=20) == message
        # Many on their way at once.
        for n in range(500):
            connection.send(str(n))
        assert [connection.recv(timeout=20) for _ in range(500)] == [str(n) for n in range(500)]
        connection.ping().wait(20)
    assert connection.close_code == 1000, connection.close_code


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
