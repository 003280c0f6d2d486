-- Responses that need no endpoint: the redirect to TLS, and the action of a route that does not forward.

local replies = require "ingresskit.local_replies"
local clients = require "ingresskit.clients"
local settings = require "ingresskit.settings"

local tostring, gsub, sub = tostring, string.gsub, string.sub

local M = { guards = {} }

-- A trusted proxy that sends no scheme was redirected to TLS: its client may come back for ever. Logged once.
local loop_suspected = false

-- Requests over TLS, and all where TLS is not served; those over plain HTTP are redirected. how: true, or {status =,
-- bare = whether a slash at the end of a path without a query goes, port = whether 443 is named}.
function M.guards.tls_redirect(how, context, var)
    local port = settings.redirect_port
    if port == 0 or clients.over_tls(context, var) then
        return
    end
    if context.scheme_unknown and not loop_suspected then
        loop_suspected = true
        ngx.log(ngx.WARN, "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop")
    end
    local named = context.port
    if named and var.server_port == tostring(named) then
        -- A client that names the port of our own listener reaches us without a port mapping.
        port = settings.own_redirects[var.server_port] or port
    end
    local status, path = 308, context.path
    local unnamed = port == 443
    if how ~= true then
        status = how.status or status
        unnamed = unnamed and not how.port
        if how.bare and context.query == "" then
            path = gsub(path, "(.)/$", "%1")
        end
    end
    local authority = context.host .. (unnamed and "" or ":" .. port)
    replies.send(status, "https://" .. authority .. path .. context.query)
    return true
end

-- No request: each gets *response*, {status =, location =, scheme = whether the location lacks that of the request
-- ("//" begins a host, "///" a path of the requested one),
-- keeps = "query" or "path": what of the target of the request follows the location}.
function M.guards.respond(response, context, var)
    local location = response.location
    if response.scheme then
        if sub(location, 1, 3) == "///" then
            location = "//" .. context.http_host .. sub(location, 3)
        end
        location = (clients.over_tls(context, var) and "https:" or "http:") .. location
    end
    if response.keeps == "path" then
        location = location .. context.path .. context.query
    elseif response.keeps then
        location = location .. context.query
    end
    replies.send(response.status, location, not location and "unavailable" or nil)
    return true
end

return M
