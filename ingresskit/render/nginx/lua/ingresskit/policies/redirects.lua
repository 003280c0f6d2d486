-- Responses that need no endpoint: the redirect to TLS, and the action of a route that does not forward.

local replies = require "ingresskit.local_replies"
local clients = require "ingresskit.clients"
local settings = require "ingresskit.settings"

local tostring = tostring

local M = { guards = {} }

-- A trusted proxy that sends no scheme was redirected to TLS: its client may come back for ever. Logged once.
local loop_suspected = false

-- Requests over TLS, and all where TLS is not served; those over plain HTTP are redirected.
function M.guards.tls_redirect(_, context, var)
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
    local authority = context.host .. (port == 443 and "" or ":" .. port)
    replies.send(308, "https://" .. authority .. context.path .. context.query)
    return true
end

-- No request: each gets *response*, {status =, location =}.
function M.guards.respond(response)
    replies.send(response.status, response.location, not response.location and "unavailable" or nil)
    return true
end

return M
