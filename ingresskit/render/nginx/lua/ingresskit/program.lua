-- What the configuration calls, one function for each place.

local prefix = ngx.config.prefix()

local settings = require "ingresskit.settings"
settings.load(prefix .. "settings.json")

local replies = require "ingresskit.local_replies"
local affinity = require "ingresskit.affinity"
local backends = require "ingresskit.backends"
local balancer = require "ingresskit.balancer"
local certificates = require "ingresskit.certificates"
local contexts = require "ingresskit.contexts"
local interim = require "ingresskit.interim"
local handlers = require "ingresskit.handlers"
local places = require "ingresskit.places"
local push = require "ingresskit.push"
local rates = require "ingresskit.policies.rates"
local router = require "ingresskit.router"
local statistics = require "ingresskit.statistics"
local terminations = require "ingresskit.terminations"

local M = {
    balance = balancer.balance,
    certificate = certificates.choose,
    interim = interim.body,
    limit = require("ingresskit.policies.limits").check,
    receive = push.receive,
    route = router.route,
    state = push.state,
}

push.load(prefix)

-- init_worker_by_lua
function M.start()
    math.randomseed(ngx.worker.pid() + ngx.now() * 1000)
    places.start()
    interim.start()
    statistics.start()
end

-- header_filter_by_lua: the head of the endpoint's response on its way to the client.
function M.respond()
    local context = contexts.current()
    if not context or not context.backend or context.own then
        return -- a local reply
    end
    -- What is no response in HTTP/1 nginx takes for one in HTTP/0.9, or passes on; nor may an endpoint leave
    -- HTTP unasked. Nothing was sent to the client yet, so cutting its connection says enough: nginx would write its
    -- own response as HTTP/0.9, without a head.
    local status = ngx.status
    if status > 99 and status < 200 and status ~= 101 and ngx.req.http_version() == 1.1 and ngx.req.get_method() ~= "HEAD" then
        -- Not for HEAD, after which nginx would read no further, nor HTTP/1.0, which has none.
        return interim.begin(context)
    end
    if (ngx.req.http_version() or 1) < 1 or status < 200 and (status ~= 101 or ngx.var.ik_connection ~= "upgrade") then
        ngx.log(ngx.ERR, "malformed response of an endpoint")
        context.reason = "upstream_malformed"
        statistics.failed("upstream_malformed")
        context.failures = (context.failures or 0) + 1
        context.status = 502
        return ngx.exit(ngx.ERROR)
    end
    local endpoint = context.endpoint
    if endpoint and endpoint.state.failures > 0 then
        backends.worked(endpoint) -- now, and not when a long response ends
    end
    if status == 204 then
        ngx.header["Content-Length"] = nil -- RFC 9110, 8.6
    end
    local header = ngx.header
    local named = ngx.var.upstream_http_connection
    if named and named ~= "keep-alive" and named ~= "close" then
        for token in string.gmatch(string.lower(named), "[^,%s]+") do
            if token ~= "close" and token ~= "keep-alive" and token ~= "upgrade" and token ~= "content-length" then
                header[token] = nil
            end
        end
    end
    local changes = context.target.response
    if changes then
        handlers.run(changes, context, header)
    end
    if context.seat_value then
        local had, cookie = header["Set-Cookie"], affinity.cookie(context)
        if type(had) == "table" then
            had[#had + 1] = cookie
        else
            had = had and { had, cookie } or cookie
        end
        header["Set-Cookie"] = had
    end
end

-- log_by_lua
function M.log()
    local context = contexts.finish()
    if context and context.place then
        rates.finished(context)
    end
    if context and context.backend then
        balancer.finish(context)
    end
    local var = ngx.var
    local status = context and context.status or ngx.status
    local reason = terminations.of(var, context, status)
    if reason == "upstream_truncated" then
        context.failures = (context.failures or 0) + 1
        statistics.failed(reason)
    end
    if settings.log then
        var.ik_reason = reason or ""
        var.ik_status = status
    end
    statistics.finished(context, status, ngx.now() - ngx.req.start_time(), reason, var.upstream_header_time)
    statistics.bytes(var.request_length, var.bytes_sent)
end

-- GET /statistics on the private socket
function M.statistics()
    ngx.print(statistics.dump(), "\n")
end

return M
