-- Who is let in: client addresses, and plain HTTP.

local addresses = require "ingresskit.addresses"
local replies = require "ingresskit.local_replies"
local clients = require "ingresskit.clients"

local M = { guards = {} }

-- Clients with an address in one of *ranges*; the others get 403.
function M.guards.access(ranges, context)
    if not addresses.within(context.client, ranges) then
        replies.send(403, nil, "denied")
        return true
    end
end

-- Clients without an address in *ranges*; the others get 403.
function M.guards.denied(ranges, context)
    if addresses.within(context.client, ranges) then
        replies.send(403, nil, "denied")
        return true
    end
end

-- Requests over TLS; those over plain HTTP get 403.
function M.guards.plain_http(_, context, var)
    if not clients.over_tls(context, var) then
        replies.send(403, nil, "denied")
        return true
    end
end

return M
