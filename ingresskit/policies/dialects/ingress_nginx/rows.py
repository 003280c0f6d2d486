"""Every annotation of ingress-nginx, a line each; `ingresskit.policies.dialects.ingress_nginx.table` reads it.

The columns: name; form of its values; default; scope (``r`` route, ``h`` host, ``b`` backend), risk (``l m h
c``) and status; key of the ConfigMap (``=``: the same name); summary. Of the status, ``+`` is honoured, ``~``
partly, ``?`` reported, ``!`` closes, ``.`` is without effect.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``internal/ingress/annotations``: 136 names and 2 aliases.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NOTES", "ROWS"]

_UPSTREAM: Final = """
proxy-connect-timeout | seconds | 5 | rl+ | = | How long connecting to an endpoint may take.
proxy-read-timeout | seconds | 60 | rl+ | = | How long an endpoint may be silent.
proxy-send-timeout | seconds | 60 | rl+ | = | How long an endpoint may take nothing of a request.
proxy-next-upstream | conditions | error timeout | rm+ | = | When another endpoint is tried.
proxy-next-upstream-tries | number | 3 | rl+ | = | How many endpoints are tried at most.
load-balance | round_robin or ewma | round_robin | bl+ | = | How an endpoint is chosen.
proxy-next-upstream-timeout | seconds | 0 | rl+ | = | How long tries may go on.
upstream-hash-by | nginx variables | | bh+ | | Choose the endpoint by a hash of this.
upstream-hash-by-subset | boolean | false | bl+ | | Hash to a group of endpoints.
upstream-hash-by-subset-size | number | 3 | bl+ | | The size of these groups.
affinity | cookie | | bl+ | | Keep a client at one endpoint by a cookie.
affinity-mode | balanced or persistent | balanced | bm+ | | Whether clients move when endpoints come.
affinity-canary-behavior | sticky or legacy | sticky | bl+ | | Whether the cookie holds a client in a canary.
session-cookie-name | name | INGRESSCOOKIE | bm+ | | The name of the affinity cookie.
session-cookie-path | path | the path | bm+ | | The path of the affinity cookie.
session-cookie-domain | domain | | bm+ | | The domain of the affinity cookie.
session-cookie-max-age | seconds | | bm+ | | The age of the affinity cookie.
session-cookie-expires | seconds | | bm+ | | The age of the affinity cookie, for old browsers.
session-cookie-secure | boolean | by the request | bl+ | | The Secure flag of the affinity cookie.
session-cookie-samesite | None, Lax or Strict | | bl+ | | The SameSite attribute of the affinity cookie.
session-cookie-conditional-samesite-none | boolean | false | bl+ | | No SameSite=None for old browsers.
session-cookie-change-on-failure | boolean | false | bl+ | | A new cookie when the endpoint failed.
service-upstream | boolean | false | bl+ | = | Send requests to the address of the Service.
backend-protocol | protocol | HTTP | bl~ | | What the endpoints speak.
proxy-http-version | 1.0 or 1.1 | 1.1 | rl+ | | The version of HTTP that endpoints are spoken to in.
connection-proxy-header | keep-alive or close | | rl+ | | The Connection header field for endpoints.
proxy-ssl-secret | namespace/name | | bm+ | | The Secret with client certificate and CA for endpoints.
proxy-ssl-verify | on or off | off | bl+ | | Whether the certificates of endpoints are verified.
proxy-ssl-verify-depth | number | 1 | bl+ | | How long their chains may be.
proxy-ssl-name | host | | bh+ | | The name that their certificates must have.
proxy-ssl-server-name | on or off | off | bl+ | | Whether endpoints are sent a server name.
proxy-ssl-ciphers | list | DEFAULT | bm+ | | The ciphers for endpoints.
proxy-ssl-protocols | list | TLSv1.2 | bl+ | | The TLS versions for endpoints.
fastcgi-index | file | | rm. | | The index file of FastCGI endpoints.
fastcgi-params-configmap | namespace/name | | rm. | | The parameters of FastCGI endpoints.
"""

_REDIRECTS: Final = """
ssl-redirect | boolean | true | rl+ | = | Redirect plain HTTP where the host has TLS.
force-ssl-redirect | boolean | false | rm+ | = | Redirect plain HTTP also where the host has none.
preserve-trailing-slash | boolean | false | rm+ | = | Keep the slash at the end in redirects to HTTPS.
permanent-redirect | URL | | rm+ | | Redirect every request there.
permanent-redirect-code | 300 to 308 | 301 | rl+ | | The status of that redirect.
temporal-redirect | URL | | rm+ | | Redirect every request there; before permanent-redirect.
temporal-redirect-code | 300 to 307 | 302 | rl+ | | The status of that redirect.
relative-redirects | boolean | false | rl+ | = | Redirects without scheme and host.
use-port-in-redirects | boolean | false | rl+ | = | Redirects of the proxy name the port.
from-to-www-redirect | boolean | false | hl+ | | Redirect the name with or without www. to this host.
app-root | path | | hm+ | | Redirect the path / there.
"""

_REWRITES: Final = """
rewrite-target | path with captures | | rm+ | | Replace the path that matched.
use-regex | boolean | false | hl+ | | Read all paths of the host as regular expressions.
x-forwarded-prefix | path | | rm+ | | The header field X-Forwarded-Prefix, beside rewrite-target.
upstream-vhost | host | | rl+ | | The Host header field for endpoints.
enable-rewrite-log | boolean | false | rl. | | Log rewrites.
"""

_HEADERS: Final = """
custom-headers | namespace/name | | rm+ | | Response header fields from a ConfigMap.
enable-cors | boolean | false | rl+ | | Respond to cross-origin requests of browsers.
cors-allow-origin | origins | * | rm+ | | Which origins may ask.
cors-allow-methods | methods | GET, PUT, POST, DELETE, PATCH, OPTIONS | rm+ | | With which methods.
cors-allow-headers | names | usual ones | rm+ | | With which header fields.
cors-allow-credentials | boolean | true | rl+ | | Whether with credentials.
cors-max-age | seconds | 1728000 | rl+ | | How long a browser may keep the permission.
cors-expose-headers | names | | rm+ | | Which response header fields a page may read.
proxy-cookie-domain | from to | off | rm+ | = | Replace the domain of the endpoint's cookies.
proxy-cookie-path | from to | off | rm+ | = | Replace the path of the endpoint's cookies.
proxy-redirect-from | text | off | rm+ | = | Replace this in the endpoint's Location header field.
proxy-redirect-to | text | off | rm+ | = | What to put in its place.
"""

_ACCESS: Final = """
allowlist-source-range | addresses | | rm+ | whitelist-source-range | Only these clients are let in.
whitelist-source-range | addresses | | rm+ | = | The old name of allowlist-source-range.
denylist-source-range | addresses | | rm+ | = | These clients are kept out.
satisfy | any or all | all | rl+ | | Whether the address or credentials suffice.
auth-type | basic or digest | | rl+ | | Ask for a user name and password.
auth-secret | namespace/name | | rm+ | | The Secret with their users.
auth-secret-type | auth-file or auth-map | auth-file | rl+ | | The form of that Secret.
auth-realm | text | | rm+ | | What the browser shows when it asks for them.
auth-url | URL | | rh+ | global-auth-url | Ask this service whether a request may pass.
auth-method | method | | rl+ | global-auth-method | The method of that question.
auth-signin | URL | | rh+ | global-auth-signin | Where to send those who may not.
auth-signin-redirect-param | name | rd | rm+ | global-auth-signin-redirect-param | The way back.
auth-request-redirect | URL | | rm+ | global-auth-request-redirect | The field X-Auth-Request-Redirect.
auth-response-headers | names | | rm+ | global-auth-response-headers | What of it endpoints get.
auth-proxy-set-headers | namespace/name | | rm+ | | Further header fields of the question.
auth-always-set-cookie | boolean | false | rl+ | global-auth-always-set-cookie | Its cookies also with errors.
auth-cache-key | nginx variables | | rm+ | global-auth-cache-key | What its response is kept under.
auth-cache-duration | list | 200 202 401 5m | rm+ | global-auth-cache-duration | How long it is kept.
auth-keepalive | number | 0 | rl+ | | Connections to it that are kept open.
auth-keepalive-share-vars | boolean | false | rl. | | Whether the question shares nginx variables.
auth-keepalive-requests | number | 1000 | rl+ | | Questions on one connection.
auth-keepalive-timeout | seconds | 60 | rl+ | | How long a connection is kept open.
auth-snippet | nginx text | | rc! | global-auth-snippet | Text for nginx in the question.
enable-global-auth | boolean | true | rl+ | | Whether global-auth-url of the ConfigMap holds here.
auth-tls-secret | namespace/name | | hm+ | | Ask clients for certificates of this CA.
auth-tls-verify-client | on, off, optional or optional_no_ca | on | hm+ | | Whether they must have one.
auth-tls-verify-depth | number | 1 | hl+ | | How long their chains may be.
auth-tls-match-cn | CN=pattern | | hh+ | | Which subject they must have.
auth-tls-error-page | URL | | hh+ | | Where to send those without one.
auth-tls-pass-certificate-to-upstream | boolean | false | hl+ | | Whether endpoints get the certificate.
enable-modsecurity | boolean | false | rl! | = | Have ModSecurity look at requests.
enable-owasp-core-rules | boolean | false | rl! | enable-owasp-modsecurity-crs | With the OWASP core rules.
modsecurity-snippet | rules | | rc! | = | With these rules.
modsecurity-transaction-id | nginx variable | | rh. | | The identity of a request in its log.
"""

_LIMITS: Final = """
proxy-body-size | size | 1m | rm+ | = | The largest request body.
client-body-buffer-size | size | 8k | rl. | = | How much of a body is kept in memory.
limit-rps | number | 0 | rl+ | | Requests of one client in a second.
limit-rpm | number | 0 | rl+ | | Requests of one client in a minute.
limit-connections | number | 0 | rl+ | | Connections of one client at a time.
limit-burst-multiplier | number | 5 | rl+ | | How many times the limit may come at once.
limit-allowlist | addresses | | rl+ | | Clients without limits.
limit-whitelist | addresses | | rl+ | | The old name of limit-allowlist.
limit-rate | KiB a second | 0 | rl+ | = | How fast a response is sent.
limit-rate-after | KiB | 0 | rl+ | = | How much of it is sent faster.
proxy-buffering | on or off | off | rl. | = | Whether responses are gathered before they are sent.
proxy-buffer-size | size | 4k | rl~ | = | The buffer for the head of a response.
proxy-buffers-number | number | 4 | rl. | = | The buffers for its body.
proxy-busy-buffers-size | size | | rl. | = | How much of them may be on its way.
proxy-max-temp-file-size | size | 1024m | rl. | = | How much of a response is kept in a file.
proxy-request-buffering | on or off | on | rl~ | = | Whether requests are gathered before they are sent.
"""

_TRAFFIC: Final = """
canary | boolean | false | rl+ | | This Ingress takes a part of another one's requests.
canary-weight | number | 0 | rl+ | | How many of canary-weight-total.
canary-weight-total | number | 100 | rl+ | | What canary-weight is a part of.
canary-by-header | name | | rm+ | | Take requests in which this header field is always.
canary-by-header-value | text | | rm+ | | In which it is this.
canary-by-header-pattern | pattern | | rm+ | | In which it matches this.
canary-by-cookie | name | | rm+ | | Take requests in which this cookie is always.
mirror-target | URL | | rh+ | | Send a copy of each request there.
mirror-host | host | the target's | rh+ | | The Host header field of the copy.
mirror-request-body | on or off | on | rl+ | | Whether the copy has the body.
custom-http-errors | statuses | | rl+ | = | Ask the default backend for these responses.
default-backend | Service | | rl+ | | The Service for errors, and for a backend without endpoints.
disable-proxy-intercept-errors | boolean | false | rl+ | = | No custom-http-errors of the ConfigMap here.
server-alias | hosts | | hh~ | | Further names for the host.
ssl-passthrough | boolean | false | hl+ | | Pass TLS on to the endpoint as it is.
ssl-ciphers | list | | hl+ | = | The ciphers of the host.
ssl-prefer-server-ciphers | boolean | off | hl+ | | Whether their order counts.
enable-access-log | boolean | true | rl+ | | Whether requests are logged.
enable-opentelemetry | boolean | of the ConfigMap | rl+ | = | Whether requests are traced.
opentelemetry-trust-incoming-span | boolean | true | rl+ | = | Whether traces of clients go on.
opentelemetry-operation-name | text | | rm. | = | The name of a trace.
http2-push-preload | boolean | false | rl+ | | HTTP/2 push, which nginx no longer has.
configuration-snippet | nginx text | | rc! | location-snippet | Text for nginx in each path.
server-snippet | nginx text | | hc! | = | Text for nginx in the host.
stream-snippet | nginx text | | hc! | = | Text for nginx beside HTTP.
"""

ROWS: Final = {
    "upstream": _UPSTREAM,
    "redirects": _REDIRECTS,
    "rewrites": _REWRITES,
    "headers": _HEADERS,
    "access": _ACCESS,
    "limits": _LIMITS,
    "traffic": _TRAFFIC,
}
"""The lines of each theme."""

NOTES: Final = {
    "proxy-ssl-ciphers": "ciphers that protect nothing are left out of groups, and refused by name",
    "proxy-ssl-protocols": "TLSv1.2 and TLSv1.3; older versions, which protect nothing, are reported",
    "proxy-ssl-verify": "without proxy-ssl-name the name of the Service is verified, not one that none has",
    "auth-cache-key": "a key that is the same for all clients keeps nothing",
    "auth-keepalive-share-vars": "there are no nginx variables to share",
    "auth-snippet": "no snippet is ever executed",
    "auth-tls-match-cn": "the whole name must match: CN=alice lets no alice2 in; patterns of linear time",
    "auth-url": "the certificate of an https service is verified, and a part of a host may be $host only",
    "backend-protocol": "HTTP, HTTPS, GRPC and GRPCS",
    "canary-by-header-pattern": "patterns that take linear time",
    "client-body-buffer-size": "bodies are streamed, and one that is gathered is in memory",
    "configuration-snippet": "no snippet is ever executed",
    "enable-rewrite-log": "`ingresskit explain` shows what becomes of a path",
    "custom-http-errors": "400 to 599; the status stays that of the error",
    "mirror-host": "no variables",
    "mirror-target": "no variable but $request_uri at its end; the certificate of an https target is verified",
    "modsecurity-snippet": "no snippet is ever executed",
    "permanent-redirect-code": "300, 301, 302, 303, 307 and 308: with the others nginx sends no Location",
    "preserve-trailing-slash": "the slash of the path / always stays, as it means the same",
    "relative-redirects": "of those of proxy-redirect-to; other redirects that could be relative are paths",
    "proxy-buffer-size": "heads of responses up to 16 KiB pass every plane",
    "proxy-buffering": "responses are streamed; a slow client holds its endpoint no longer than buffers last",
    "proxy-buffers-number": "responses are streamed",
    "proxy-busy-buffers-size": "responses are streamed",
    "proxy-http-version": "in 1.0, bodies of unknown length are refused with 411",
    "proxy-max-temp-file-size": "no response is kept on disk",
    "proxy-next-upstream": "error, timeout and off; no status of a response causes another try",
    "proxy-request-buffering": "on gathers bodies up to 1 MiB; without the annotation bodies are streamed",
    "rewrite-target": "the result is in normal form: one with .. elements is refused",
    "enable-modsecurity": "no web application firewall is built",
    "enable-opentelemetry": "endpoints get a traceparent, of the client or new; no spans are exported",
    "enable-owasp-core-rules": "no web application firewall is built",
    "fastcgi-index": "endpoints that speak FastCGI are not spoken to",
    "fastcgi-params-configmap": "endpoints that speak FastCGI are not spoken to",
    "http2-push-preload": "nothing is pushed, as in ingress-nginx: nginx has given HTTP/2 push up",
    "modsecurity-transaction-id": "no web application firewall is built",
    "opentelemetry-operation-name": "no traces are exported",
    "server-alias": "names, wildcards and expressions for a few names; for the paths of this Ingress",
    "server-snippet": "no snippet is ever executed",
    "service-upstream": "a Service without an address has its endpoints asked",
    "ssl-ciphers": "ciphers that protect nothing are left out of groups, and refused by name",
    "ssl-passthrough": "with --enable-ssl-passthrough, as in ingress-nginx; to the backend of the path /",
    "stream-snippet": "no snippet is ever executed",
    "temporal-redirect-code": "300, 301, 302, 303 and 307: with the others nginx sends no Location",
    "upstream-hash-by": "texts; variables of request line, header fields, cookies, arguments, client, Ingress",
    "upstream-vhost": "a host, maybe with a port; no variables",
    "use-regex": "of each path by itself, see Matching; those that may take long have a time limit",
}
"""What is honoured of an annotation, or what to do instead; ``{native}`` stands for the native prefix."""
