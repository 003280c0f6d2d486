-- From a request to what happens with it: the one place where rules are asked.
--
-- What cannot be understood is refused first, then what no rule takes. The policies of the rule come next, in
-- the order of its row: `ingresskit.policies.order.Stage`, or what the rule's dialect puts in its place.

local addresses = require "ingresskit.addresses"
local replies = require "ingresskit.local_replies"
local affinity = require "ingresskit.affinity"
local backends = require "ingresskit.backends"
local clients = require "ingresskit.clients"
local contexts = require "ingresskit.contexts"
local fields = require "ingresskit.fields"
local grpc = require "ingresskit.grpc"
local handlers = require "ingresskit.handlers"
local hashing = require "ingresskit.hashing"
local interim = require "ingresskit.interim"
local paths = require "ingresskit.paths"
local selections = require "ingresskit.selections"
local settings = require "ingresskit.settings"
local statistics = require "ingresskit.statistics"
local tables = require "ingresskit.tables"

local re_match, re_find = ngx.re.match, ngx.re.find
local get_method = ngx.req.get_method
local byte, find, sub, lower, match = string.byte, string.find, string.sub, string.lower, string.match
local tonumber = tonumber
local run = handlers.run

local M = {}

local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true }

-- nginx takes any minor version; what a client of another one means is not defined.
local VERSIONS = { ["HTTP/1.0"] = true, ["HTTP/1.1"] = true, ["HTTP/2.0"] = true }

local MAX_LINE_BYTES = 8192

local NOT_A_TARGET = "[^!-~]|#"

-- {name, as sent upstream, port (nil: none)}, by Host as sent. Clients rarely change it; emptied when full.
local hosts, host_count = {}, 0

local HOST = [[\A(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,254}[A-Za-z0-9_-])\.?(?::([0-9]{0,5}))?\z]]

local function read_host(raw)
    local found = re_match(raw, HOST, "jo")
    if not found then
        return nil
    end
    local port = found[2]
    if port and port ~= "" and tonumber(port) > 65535 then
        return nil
    end
    local name = lower(found[1])
    local number = port and tonumber(port)
    local entry = { name, port and port ~= "" and name .. ":" .. port or name, number and number > 0 and number or nil }
    if host_count > 4096 then
        hosts, host_count = {}, 0
    end
    hosts[raw] = entry
    host_count = host_count + 1
    return entry
end

-- The target of a path under one virtual host: one look-up per element of the longest prefix at most.
local function find_target(host, path, context)
    if host.mixed then
        return selections.find(host, path, context)
    end
    local found = host.exact[path]
    if found then
        return host.targets[found]
    end
    local prefixes, longest = host.prefixes, host.longest
    if longest < 0 then
        return nil
    end
    local cut = #path
    if cut > longest then
        -- A path of four thousand elements is a client's to send; few prefixes have more than three.
        cut = longest
        while byte(path, cut + 1) ~= 47 do
            cut = cut - 1
        end
    end
    while true do
        found = prefixes[sub(path, 1, cut)]
        if found then
            return host.targets[found]
        end
        if cut <= 0 then
            return nil
        end
        cut = cut - 1
        while byte(path, cut + 1) ~= 47 do
            cut = cut - 1
        end
    end
end

-- The target for a request and its virtual host, which may be without the former.
local function resolve(name, path, generation, context)
    local host = tables.get("h", name, generation)
    local target = host and find_target(host, path, context)
    if target then
        return target, host
    end
    local all = tables.get("s", "all", generation)
    local fallthrough = all and all.fallthrough
    if host and not fallthrough then
        return nil, host
    end
    local dot = find(name, ".", 2, true)
    if dot and byte(name) ~= 91 and byte(name) ~= 46 then
        local wildcard = tables.get("h", "*" .. sub(name, dot), generation)
        target = wildcard and find_target(wildcard, path, context)
        if target or (wildcard and not fallthrough) then
            return target, wildcard
        end
        host = host or wildcard
    end
    local any = tables.get("h", "*", generation)
    return any and find_target(any, path, context), any or host
end

-- The host of a request: {name, as sent upstream}; nil when it is none, or said in two ways.
local function requested_host(var)
    local raw = var.http_host
    if not raw then
        raw = var.server_protocol == "HTTP/2.0" and var.host
        if not raw then
            return nil
        end
    end
    local host = hosts[raw] or read_host(raw)
    if host and not M.same_authority(var.request, host) then
        return nil
    end
    return host
end

-- Whether an absolute target names the same authority as Host, port included; they must agree, since
-- whatever checked the request before us may have read the other one. nginx takes any scheme for one; a
-- target that is neither a path nor an http URL is refused.
function M.same_authority(request, host)
    local space = find(request, " ", 1, true)
    if not space or byte(request, space + 1) == 47 then
        return true
    end
    local authority = match(request, "^%S+ [hH][tT][tT][pP][sS]?://([^/?#%s]*)")
    local other = authority and (hosts[authority] or read_host(authority))
    return other ~= nil and other[2] == host[2]
end

-- Choose the connections that a request to *backend* may take.
local function connect(var, context, backend)
    if context.binding then
        var.ik_pool = "ingresskit_once"
    elseif not IDEMPOTENT[get_method()] then
        -- What must not be sent twice takes a kept connection only while that is young: its endpoint
        -- may be closing an older one just now.
        var.ik_pool = "ingresskit_young"
    end
    if backend.grpc then
        var.ik_scheme = "grpc"
        var.ik_pool = "ingresskit_grpc"
    end
    if backend.secure then
        local host = context.server_name or context.host
        var.ik_scheme = backend.grpc and "grpcs" or "https"
        var.ik_pool = "ingresskit_once"
        var.ik_name = match(host, "^[a-z0-9][a-z0-9.-]*$") and not match(host, "^[0-9.]+$") and host or ""
    end
end

local function forward(var, context, target, backend, path, query)
    if backend.affinity then
        affinity.begin(backend, context)
    end
    if backend.hash then
        context.hashed = hashing.of(backend.hash, context, var, path)
    end
    if target.request then
        context.path_options = tables.get("s", "all", context.generation)
        if run(target.request, context, var) then
            return
        end
        path, query = context.path, context.query
    end
    context.backend = backend
    context.counted = backend
    statistics.forwarded(backend)
    if settings.log then
        var.ik_backend = backend.name
    end
    if path .. query ~= context.uri then
        var.ik_uri = path .. query
    end
    connect(var, context, backend)
    if backend.grpc then
        return grpc.exec(context, path, query)
    elseif context.location then
        return ngx.exec(context.location)
    elseif interim.expected(backend) then
        return ngx.exec(interim.LOCATION)
    end
end

-- Decide what happens with a request. Runs in the rewrite phase.
function M.route()
    if ngx.status >= 400 then
        return replies.fail() -- nginx's own errors are sent here, see error_page
    end
    local var = ngx.var
    local uri = var.request_uri
    local generation = tables.generation()
    -- `uri` is what the endpoint gets unless told otherwise.
    local context = { generation = generation, uri = uri, query = "" }
    contexts.begin(context)
    if not VERSIONS[var.server_protocol] then
        return replies.refuse(505)
    end
    if #uri > MAX_LINE_BYTES - 16 and #uri + #var.request_method + 10 > MAX_LINE_BYTES then
        return replies.refuse(414)
    end
    local peer_text = var.remote_addr
    local peer, trusted = clients.peer(peer_text)
    local proxied_port
    -- A header of the kind LOCAL or UNKNOWN names no addresses: the connection's own count.
    if settings.proxy_protocol and trusted and (var.proxy_protocol_addr or "") ~= "" then
        peer_text = var.proxy_protocol_addr
        proxied_port = tonumber(var.proxy_protocol_server_port)
        peer, trusted = clients.peer(peer_text)
        var.ik_for = peer_text
        var.ik_client = peer_text
    end
    local status, said, binding, odd = fields.read(var, trusted)
    if status then
        return replies.refuse(status)
    end
    context.binding = binding
    context.odd = odd
    local host = requested_host(var)
    if not host then
        return replies.refuse(400)
    end
    local name = host[1]
    context.host = name
    context.http_host = host[2]
    if host[2] ~= var.host then -- else nginx's own $host says the same
        var.ik_host = host[2]
    end
    if re_find(uri, NOT_A_TARGET, "jo") then
        return replies.refuse(400)
    end
    local path, query = uri, ""
    local mark = find(uri, "?", 1, true)
    if mark == 1 then
        uri, mark = "/" .. uri, 2 -- an absolute target without a path
    end
    if mark then
        path, query = sub(uri, 1, mark - 1), sub(uri, mark)
        context.query = query
    end
    path = paths.normalise(path, tables.get("s", "all", generation))
    if not path then
        return replies.refuse(400)
    end
    if settings.log then
        var.ik_log_host = name
        var.ik_log_path = path
    end
    local target, rule, backend
    for _ = 1, 20 do
        tables.moved = false
        context.draw = nil
        target, rule = resolve(name, path, generation, context)
        backend = target and target.backends and backends.choose(target.backends, generation, context)
        if not tables.moved then
            break
        end
        generation = tables.generation() -- rows of two states were read
    end
    if not target then
        return replies.send(404, nil, "no_route")
    end
    context.target = target
    context.rule_host = rule.host
    if settings.log then
        var.ik_rule = rule.host
    end
    context.client = peer
    if trusted then
        context.scheme_unknown = true
    end
    if trusted and said then
        local client = clients.behind_proxy(said, peer, peer_text, var.scheme, proxied_port, host[3])
        context.https = client.https
        context.scheme_unknown = not client.told
        context.client = client.client
        var.ik_for = client.chain
        var.ik_proto = client.proto
        var.ik_port = client.port
        var.ik_forwarded_host = client.host or host[2]
        var.ik_client = addresses.show(client.client)
        var.ik_forwarded = client.forwarded or ""
    elseif proxied_port or host[3] then -- else nginx's own map says the same
        var.ik_port = proxied_port or host[3]
    end
    if target.guards or target.request then
        context.path, context.port = path, host[3]
        if target.guards and run(target.guards, context, var) then
            return
        end
    end
    if not backend then
        return replies.send(503, nil, "no_endpoint")
    end
    return forward(var, context, target, backend, path, query)
end

return M
