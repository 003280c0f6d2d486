-- Where a request goes, for its first try and each further one.
--
-- nginx decides whether there is another try: never for POST, PATCH and LOCK once something was
-- sent, and never when a body was passed on already. This module decides the rest: no more tries
-- than the policy has and no later ones, none after an endpoint was silent for too long unless the
-- policy has that as a cause, none for methods that may not be repeated, each on another endpoint.
-- A kept connection that its endpoint closed meanwhile is nobody's fault: nginx gives another try
-- for it, on the same endpoint when there is no other.

local balancer = require "ngx.balancer"
local affinity = require "ingresskit.affinity"
local addresses = require "ingresskit.addresses"
local backends = require "ingresskit.backends"
local contexts = require "ingresskit.contexts"
local statistics = require "ingresskit.statistics"
local terminations = require "ingresskit.terminations"

local begin = require("ingresskit.policies.upstream").begin

local M = {}

local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true }

-- nginx's "busy": it gives up, with 502.
local GIVE_UP = -3

-- The last try failed: count it, and return how many bytes of the request it sent.
local function failed(context, status, next)
    local var = ngx.var
    local sent = terminations.bytes_sent(var, next)
    context.failures = (context.failures or 0) + 1
    context.failed = terminations.of_try(var, status, sent, next)
    statistics.failed(context.failed)
    return sent
end

-- Whether another try may begin as long as this after the request did.
local function in_time(upstream)
    local within = upstream.within
    return not within or ngx.now() - ngx.req.start_time() < within
end

-- What the last try tells; returns whether there may be another one.
local function judge_last(context)
    local endpoint = context.endpoint
    local _, status = balancer.get_last_failure()
    local sent = failed(context, status, true)
    backends.count(endpoint, context.backend.balance, -1)
    context.endpoint = nil
    local tried = context.tried or {}
    context.tried = tried
    tried[endpoint.name] = true
    local upstream = context.target.upstream
    if sent == 0 then
        backends.failed(endpoint)
        return in_time(upstream)
    end
    context.last = endpoint
    if status == 504 and not (upstream.late and in_time(upstream)) then
        context.timed_out = true -- nginx's own status becomes 502, for there is no further try
        return false
    end
    return IDEMPOTENT[ngx.var.request_method] and in_time(upstream) or false
end

-- Runs for each try.
function M.balance()
    local context = contexts.current()
    local backend, upstream = context.backend, context.target.upstream
    if context.attempts then
        context.attempts = context.attempts + 1
        if not judge_last(context) then
            return ngx.exit(GIVE_UP)
        end
    else
        context.attempts = 1
        begin(upstream, #backend.ready)
    end
    if backend.balance == "client-hash" and not context.client_name then
        context.client_name = addresses.show(context.client)
    end
    local function choose()
        return backends.endpoint(backend, context.client_name, context.tried, context.hashed)
    end
    local endpoint
    if backend.affinity then
        endpoint = affinity.endpoint(backend, context, context.tried, choose)
    else
        endpoint = choose()
    end
    endpoint = endpoint or context.last
    if not endpoint then
        return ngx.exit(GIVE_UP)
    end
    backends.count(endpoint, backend.balance, 1)
    context.endpoint = endpoint
    local done, fault = balancer.set_current_peer(endpoint.host, endpoint.port)
    if not done then
        ngx.log(ngx.ERR, "endpoint cannot be used: ", fault)
        return ngx.exit(GIVE_UP)
    end
end

-- What the end of a request tells of its endpoint. Runs in the log phase.
function M.finish(context)
    local endpoint = context.endpoint
    if not endpoint then
        return
    end
    local state, algorithm = endpoint.state, context.backend.balance
    backends.count(endpoint, algorithm, -1)
    backends.took(endpoint, algorithm, ngx.now() - ngx.req.start_time())
    if context.own then -- nginx's error became a local reply
        local status = context.status or ngx.status
        if (status == 502 or status == 504) and failed(context, status, false) == 0 then
            backends.failed(endpoint)
        end
    elseif state.failures > 0 then
        backends.worked(endpoint)
    end
end

return M
