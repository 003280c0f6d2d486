-- The largest body of a request.
--
-- nginx counts a body without a Content-Length only against a limit that stands in its configuration, so
-- there is a location for each power of two, which keeps an endless body off the disk; there it is read
-- whole, and then measured. Bodies of announced length are judged at once, and streamed.

local replies = require "ingresskit.local_replies"
local contexts = require "ingresskit.contexts"

local tonumber = tonumber

local M = { guards = {} }

-- The powers there is a location for: from a kibibyte to beyond the largest limit there can be.
local FIRST, LAST = 10, 50

-- The location for a limit in bytes.
local function location(limit)
    local power = FIRST
    while 2 ^ power < limit and power < LAST do
        power = power + 1
    end
    return "@body_" .. power
end

-- Requests whose body has at most *limit* bytes; the others get 413.
function M.guards.body(limit, context, var)
    local length = tonumber(var.content_length or "0")
    if length and length > limit then
        replies.send(413, nil, "body_too_large")
        return true
    end
    -- A stream of HTTP/2 may have a body of which nothing is said at its beginning.
    if var.http_transfer_encoding or var.server_protocol == "HTTP/2.0" and not var.content_length then
        context.location = location(limit)
        context.max_body = limit
    end
end

local function size()
    local data = ngx.req.get_body_data()
    if data then
        return #data
    end
    local path = ngx.req.get_body_file()
    if not path then
        return 0
    end
    local file = assert(io.open(path, "rb"))
    local bytes = file:seek("end")
    file:close()
    return bytes
end

-- Read the body and judge it. Runs in the access phase of those locations.
function M.check()
    ngx.req.read_body()
    if size() > contexts.current().max_body then
        return replies.send(413, nil, "body_too_large")
    end
end

return M
