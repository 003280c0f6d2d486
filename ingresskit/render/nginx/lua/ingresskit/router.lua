-- From a request to what happens with it: the one place where rules are asked.
--
-- The same order as in `ingresskit.proxy.requests`: what cannot be understood, then no rule, then an
-- address that is not allowed (it learns nothing else), then the redirect to TLS, then the action.

local addresses = require "ingresskit.addresses"
local answers = require "ingresskit.answers"
local backends = require "ingresskit.backends"
local clients = require "ingresskit.clients"
local contexts = require "ingresskit.contexts"
local fields = require "ingresskit.fields"
local interim = require "ingresskit.interim"
local limits = require "ingresskit.limits"
local paths = require "ingresskit.paths"
local settings = require "ingresskit.settings"
local statistics = require "ingresskit.statistics"
local tables = require "ingresskit.tables"

local re_match, re_find = ngx.re.match, ngx.re.find
local get_method, clear_header, set_header = ngx.req.get_method, ngx.req.clear_header, ngx.req.set_header
local byte, find, sub, lower, match = string.byte, string.find, string.sub, string.lower, string.match
local tonumber, tostring, type, pairs = tonumber, tostring, type, pairs

local M = {}

-- A trusted proxy that says nothing of the scheme was redirected to TLS: it may come back for ever. Logged once.
local loop_suspected = false

local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true }

-- nginx takes any minor version; nobody knows what a client of another one means.
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
local function find_target(host, path)
    local found = host.e[path]
    if found then
        return host.t[found]
    end
    local prefixes, longest = host.p, host.l
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
            return host.t[found]
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
local function resolve(name, path, generation)
    local host = tables.get("h", name, generation)
    local target = host and find_target(host, path)
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
        target = wildcard and find_target(wildcard, path)
        if target or (wildcard and not fallthrough) then
            return target, wildcard
        end
        host = host or wildcard
    end
    local any = tables.get("h", "*", generation)
    return any and find_target(any, path), any or host
end
M.resolve = resolve

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

-- Take out the fields that an application could take for one of those that the route drops.
local function drop_spellings(odd, names)
    local gone = {}
    for _, name in ipairs(names) do
        gone[fields.plain(name)] = true
    end
    for _, name in ipairs(odd) do
        if gone[fields.plain(name)] then
            clear_header(name)
        end
    end
end

local function forward(var, context, target, backend, path, query)
    local limit = target.m
    if limit then
        local length = tonumber(var.content_length or "0")
        if length and length > limit then
            return answers.give(413, nil, "body_too_large")
        end
    end
    if not backend then
        return answers.give(503, nil, "no_endpoint")
    end
    context.backend = backend
    context.counted = backend
    statistics.forwarded(backend)
    context.client_name = target.lb == "client-hash" and addresses.show(context.client) or nil
    if settings.log then
        var.ik_backend = backend.name
    end
    if target.rw then
        path = target.rw .. sub(path, target.n + 1)
        if path == "" then
            path = "/"
        end
        var.ik_uri = path .. query
    elseif path .. query ~= context.uri then
        var.ik_uri = path .. query
    end
    if context.binding then
        var.ik_pool = "ingresskit_once"
    elseif not IDEMPOTENT[get_method()] then
        -- What must not be sent twice takes a kept connection only while that is young: its endpoint
        -- may be closing an older one just now.
        var.ik_pool = "ingresskit_young"
    end
    if backend.s then
        var.ik_scheme = "https"
        var.ik_pool = "ingresskit_once"
        var.ik_name = match(context.host, "^[a-z0-9][a-z0-9.-]*$") and not match(context.host, "^[0-9.]+$") and context.host or ""
    end
    if target.qd then
        if context.odd then
            drop_spellings(context.odd, target.qd)
        end
        for _, name in ipairs(target.qd) do
            if name == "x-request-id" then
                var.ik_request_id = ""
            else
                clear_header(name)
            end
        end
    end
    if target.qs then
        for _, field in ipairs(target.qs) do
            if lower(field[1]) == "x-request-id" then
                var.ik_request_id = field[2]
            else
                set_header(field[1], field[2])
            end
        end
    end
    if limit and var.http_transfer_encoding then
        return ngx.exec(limits.location(limit))
    end
    if interim.expected(backend) then
        return ngx.exec(interim.LOCATION)
    end
end

-- Decide what happens with a request. Runs in the rewrite phase.
function M.route()
    if ngx.status >= 400 then
        return answers.fail() -- nginx's own errors are sent here, see error_page
    end
    local var = ngx.var
    local uri = var.request_uri
    local generation = tables.generation()
    -- `uri` is what the endpoint gets unless told otherwise.
    local context = { generation = generation, uri = uri }
    contexts.begin(context)
    if not VERSIONS[var.server_protocol] then
        return answers.refuse(505)
    end
    if #uri > MAX_LINE_BYTES - 16 and #uri + #var.request_method + 10 > MAX_LINE_BYTES then
        return answers.refuse(414)
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
        return answers.refuse(status)
    end
    context.binding = binding
    context.odd = odd
    local host = requested_host(var)
    if not host then
        return answers.refuse(400)
    end
    local name = host[1]
    context.host = name
    if host[2] ~= var.host then -- else nginx's own $host says the same
        var.ik_host = host[2]
    end
    if re_find(uri, NOT_A_TARGET, "jo") then
        return answers.refuse(400)
    end
    local path, query = uri, ""
    local mark = find(uri, "?", 1, true)
    if mark == 1 then
        uri, mark = "/" .. uri, 2 -- an absolute target without a path
    end
    if mark then
        path, query = sub(uri, 1, mark - 1), sub(uri, mark)
    end
    path = paths.normalise(path, tables.get("s", "all", generation))
    if not path then
        return answers.refuse(400)
    end
    if settings.log then
        var.ik_log_host = name
        var.ik_log_path = path
    end
    local target, rule, backend
    for _ = 1, 20 do
        tables.moved = false
        target, rule = resolve(name, path, generation)
        backend = target and target.b and backends.choose(target.b, generation)
        if not tables.moved then
            break
        end
        generation = tables.generation() -- rows of two states were read
    end
    if not target then
        return answers.give(404, nil, "no_route")
    end
    context.target = target
    context.rule_host = rule.h
    if settings.log then
        var.ik_rule = rule.h
    end
    context.client = peer
    local https, told
    if trusted and said then
        local client = clients.behind_proxy(said, peer, peer_text, var.scheme, proxied_port, host[3])
        https = client.https
        told = client.told
        context.client = client.client
        var.ik_for = client.chain
        var.ik_proto = client.proto
        var.ik_port = client.port
        var.ik_forwarded_host = client.host or host[2]
        var.ik_client = addresses.show(client.client)
        var.ik_forwarded = client.forwarded or ""
    else
        if target.tls or target.only then
            https = var.scheme == "https"
        end
        if proxied_port or host[3] then -- else nginx's own map says the same
            var.ik_port = proxied_port or host[3]
        end
    end
    if target.al and not addresses.within(context.client, target.al) then
        return answers.give(403, nil, "denied")
    end
    if target.only and not https then
        return answers.give(403, nil, "denied")
    end
    if target.tls and not https and settings.redirect_port > 0 then
        local port = settings.redirect_port
        if trusted and not told and not loop_suspected then
            loop_suspected = true
            ngx.log(ngx.WARN, "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop")
        end
        if host[3] and var.server_port == tostring(host[3]) then
            -- Who names the port of our own listener reaches us without a port mapping.
            port = settings.own_redirects[var.server_port] or port
        end
        return answers.give(308, "https://" .. name .. (port == 443 and "" or ":" .. port) .. path .. query)
    end
    if target.b then
        return forward(var, context, target, backend, path, query)
    end
    return answers.give(target.c, target.r, not target.r and "unavailable" or nil)
end

return M
