-- Responses of the proxy itself: a status and one line of text, which never reveals a backend.

local contexts = require "ingresskit.contexts"
local grpc = require "ingresskit.grpc"

local M = {}

M.SENTENCES = {
    [400] = "The request could not be understood.",
    [403] = "Access is not allowed from your address.",
    [404] = "Nothing is served here.",
    [405] = "The method is not allowed here.",
    [408] = "The request did not arrive in time.",
    [413] = "The request body is too large.",
    [414] = "The request line is too long.",
    [417] = "The expectation cannot be met.",
    [429] = "Too Many Requests.",
    [431] = "The request header is too large.",
    [500] = "The proxy could not handle the request.",
    [501] = "The transfer coding is not understood.",
    [502] = "The endpoint sent no valid response.",
    [503] = "No endpoint is available.",
    [504] = "The endpoint did not respond in time.",
    [505] = "HTTP Version Not Supported.",
    [300] = "Multiple Choices.",
    [301] = "Moved Permanently.",
    [302] = "Found.",
    [303] = "See Other.",
    [307] = "Temporary Redirect.",
    [308] = "Permanent Redirect.",
}

-- What the policies of the route put into responses of nginx itself.
local function add_fields(context, header)
    local list = context and context.target and context.target.local_reply
    for index = 1, list and #list or 0 do
        local entry = list[index]
        entry[1](entry[2], context, header)
    end
end

-- Respond with *status*, and end the request. *location* is for redirects; *reason* says why, in the words
-- of `ingresskit.graph.Termination`, where no endpoint is to blame.
function M.send(status, location, reason)
    local body = (M.SENTENCES[status] or "Status " .. status .. ".") .. "\n"
    local context = contexts.current()
    if context then
        context.own = true
        context.reason = reason or context.reason
    end
    if grpc.asked() then
        return grpc.send(status, body, context, add_fields)
    end
    ngx.status = status
    local header = ngx.header
    header["Content-Type"] = "text/plain; charset=utf-8"
    header["Content-Length"] = #body
    if location then
        header["Location"] = location
    end
    add_fields(context, header)
    ngx.print(body)
    return ngx.exit(ngx.HTTP_OK)
end

-- Respond with *status* and no body, and end the request; fields that are set already stay.
function M.empty(status)
    local context = contexts.current()
    if context then
        context.own = true
    end
    ngx.status = status
    add_fields(context, ngx.header)
    ngx.send_headers()
    return ngx.exit(ngx.HTTP_OK)
end

-- Refuse a request that cannot be understood; its connection ends, because the start of the next is unknown.
function M.refuse(status)
    local context = contexts.current()
    if status == 431 and context then
        -- nginx ends the connection after 400, but not after its own number for this one.
        context.refused = status
        status = 400
    end
    return ngx.exit(status)
end

-- The response to an error of nginx itself, in the words above.
function M.fail()
    local status = ngx.status
    local context = contexts.current()
    if context and context.refused then
        status = context.refused
    elseif (status == 502 or status == 504) and context and context.backend and context.backend.delegate then
        status = 503 -- the delegate takes no connection; what it says of endpoints is its response
    elseif status == 502 and context and context.timed_out then
        status = 504
    elseif status == 497 then
        status = 400
    elseif status == 400 and string.find(ngx.var.request or "", "^OPTIONS %* HTTP/1%.[01]$") then
        -- About the server in general (RFC 9110, 9.3.7); nginx reads no such target.
        ngx.status = 200
        ngx.header["Content-Length"] = 0
        return ngx.exit(ngx.HTTP_OK)
    end
    return M.send(status)
end

return M
