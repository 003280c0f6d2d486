"""The real gRPC server and client of ``grpcio``, with a service that has all four kinds of calls.

Messages are plain bytes: what a call does with them is no matter of protocol buffers.
"""

from __future__ import annotations

import datetime
import functools
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typing_extensions import override

from ingresskit.models import ObjectMeta, Secret
from ingresskit.testing import pace
from ingresskit.testing.loopback import Address

# Programs are started while its threads run, and none of them calls.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc

__all__ = ["DEADLINE", "Caller", "GrpcEndpoint", "channel_to", "grpc_secret", "open_grpc"]

DEADLINE = pace.within(20)
_NAME = "test.Echo"
_LARGEST = 64 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.max_send_message_length", _LARGEST),
)


@dataclass(slots=True)
class GrpcEndpoint:
    """A gRPC server, and what it saw.

    Attributes:
        port: On 127.0.0.1.
        seen: The metadata of each call, in order.
        cancelled: Set when a call that waits was cancelled by its client.
        waiting: Set when a call waits.
    """

    port: int = 0
    name: bytes = b"one"
    seen: list[dict[str, str | bytes]] = field(default_factory=list[dict[str, "str | bytes"]])
    cancelled: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    secure: bool = False
    remaining: list[float | None] = field(default_factory=list["float | None"])


class _Service(grpc.GenericRpcHandler):
    def __init__(self, endpoint: GrpcEndpoint) -> None:
        self._endpoint = endpoint
        self._calls: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Name": grpc.unary_unary_rpc_method_handler(self._name),
            "Join": grpc.stream_unary_rpc_method_handler(self._join),
            "Split": grpc.unary_stream_rpc_method_handler(self._split),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self._wait),
        }

    @override
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        metadata = handler_call_details.invocation_metadata
        self._endpoint.seen.append(dict(metadata))
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        return self._calls.get(method) if service == _NAME else None

    def _echo(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._endpoint.remaining.append(context.time_remaining())
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\x00\xff")))
        return message

    def _name(self, _message: bytes, _context: grpc.ServicerContext) -> bytes:
        return self._endpoint.name

    def _join(self, messages: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        return b",".join(messages)

    def _split(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_trailing_metadata((("x-last", "3"),))
        yield from message.split(b",")

    def _chat(self, messages: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            yield self._endpoint.name + b":" + message

    def _fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: " + message.decode())

    def _wait(self, _message: bytes, context: grpc.ServicerContext) -> bytes:
        over = threading.Event()
        context.add_callback(over.set)
        self._endpoint.waiting.set()
        over.wait(DEADLINE)
        if not context.is_active():
            self._endpoint.cancelled.set()
        return b""


@functools.cache
def _certificate(host: str) -> tuple[bytes, bytes]:
    """A certificate of its own authority and its key: what gRPC's TLS takes, which has no Ed25519."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    began = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), secret


def grpc_secret(host: str, name: str = "grpc-tls") -> Secret:
    """A Secret with a certificate for *host* that the clients of `channel_to` trust."""
    chain, key = _certificate(host)
    return Secret(
        metadata=ObjectMeta(name=name, namespace="default"),
        type="kubernetes.io/tls",
        data={"tls.crt": chain, "tls.key": key},
    )


@contextmanager
def open_grpc(*, tls: bool = False, name: bytes = b"one", workers: int = 16) -> Generator[GrpcEndpoint]:
    """A gRPC server on a free port."""
    endpoint = GrpcEndpoint(name=name)
    server = grpc.server(ThreadPoolExecutor(workers), options=_OPTIONS)
    server.add_generic_rpc_handlers((_Service(endpoint),))
    if tls:
        chain, key = _certificate("endpoint.example")
        endpoint.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    else:
        endpoint.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield endpoint
    finally:
        server.stop(None).wait()


@contextmanager
def channel_to(address: Address, host: str, *, tls: bool) -> Generator[Caller]:
    """A channel through a proxy at *address* that asks for *host*."""
    target = f"{address[0]}:{address[1]}"
    # Each has connections of its own.
    options: tuple[tuple[str, str | int], ...] = (
        *_OPTIONS,
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    )
    if tls:
        credentials = grpc.ssl_channel_credentials(_certificate(host)[0])
        options = (*options, ("grpc.ssl_target_name_override", host))
        channel = grpc.secure_channel(target, credentials, options=options)
    else:
        channel = grpc.insecure_channel(target, options=(*options, ("grpc.default_authority", host)))
    with channel:
        yield Caller(channel)


class Caller:
    """Calls of the service on a channel, which block; each within `DEADLINE`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def echo(
        self,
        message: bytes,
        *,
        deadline: float = DEADLINE,
        compression: grpc.Compression | None = None,
        metadata: tuple[tuple[str, str | bytes], ...] = (),
        method: str = "Echo",
        service: str = _NAME,
    ) -> tuple[bytes, dict[str, str | bytes], dict[str, str | bytes]]:
        """One message each way; what came back, the first metadata, and the last."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/{service}/{method}")
        came, outcome = call.with_call(message, timeout=deadline, compression=compression, metadata=metadata)
        return came, dict(outcome.initial_metadata()), dict(outcome.trailing_metadata())

    def join(self, messages: Iterable[bytes]) -> bytes:
        """Many messages, and one back."""
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(f"/{_NAME}/Join")
        return call(iter(messages), timeout=DEADLINE)

    def split(self, message: bytes) -> list[bytes]:
        """One message, and many back."""
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(f"/{_NAME}/Split")
        return list(call(message, timeout=DEADLINE))

    def chat(self, messages: Iterable[bytes]) -> list[bytes]:
        """Each message is sent when the one before it came back."""
        turn = threading.Semaphore(1)

        def asked() -> Iterator[bytes]:
            for message in messages:
                assert turn.acquire(timeout=DEADLINE)
                yield message

        back: list[bytes] = []
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(f"/{_NAME}/Chat")
        for message in call(asked(), timeout=DEADLINE):
            back.append(message)
            turn.release()
        return back

    def failure(
        self, message: bytes = b"x", *, method: str = "Fail", service: str = _NAME, deadline: float = DEADLINE
    ) -> tuple[grpc.StatusCode, str]:
        """The code and the words with which a call fails."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/{service}/{method}")
        outcome = call.future(message, timeout=deadline)
        return outcome.code(), outcome.details() or ""

    def cancel(self, endpoint: GrpcEndpoint) -> None:
        """Begin a call that waits, and cancel it once it is at the endpoint."""
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/{_NAME}/Wait")
        call = unary.future(b"", timeout=DEADLINE)
        assert endpoint.waiting.wait(DEADLINE)
        call.cancel()
