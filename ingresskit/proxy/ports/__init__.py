"""The ports between the core and the protocols that carry its messages.

```text
client ══ Downstream ──reports to──► RequestReceiver ┐
                                                     ├─ one exchange ─ lends from ─► UpstreamPool
endpoint ══ Upstream ──reports to──► ResponseReceiver┘
```

A codec (`ingresskit.proxy.h1`) implements `Downstream`, `Upstream` and `UpstreamConnection`, and reports to
the receivers; the core (`ingresskit.proxy.exchange`) does the reverse and writes no octets of any protocol.

- A `Downstream` and an `Upstream` are one *stream* each: one request and its response. On an HTTP/1.1
  connection there is one at a time, on a connection that multiplexes there are many.
- Each direction of a stream ends by itself (``complete`` and ``last``): a response may end before its request,
  and a request before its response begins.
- Trailers stand beside the last data. Interim responses come before the response, any number of them.
- Header fields are the lines of HTTP/1, each with its line end: they pass between two HTTP/1.1 connections
  unread, and another codec splits them. Framing and fields for one connection are not among them; a codec
  adds its own.
- All calls are made on the event loop's thread, and may be answered by calls in the other direction before
  they return.
"""
