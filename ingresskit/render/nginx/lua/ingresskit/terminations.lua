-- Why a request did not end with a whole response of an endpoint, in the words of
-- `ingresskit.graph.Termination`. Worked out in the log phase, and only where something is wrong.

local find, match = string.find, string.match

local M = {}

-- Of responses of nginx's own, which no rule was asked for.
local OWN = {
    [400] = "bad_request",
    [403] = "denied",
    [404] = "no_route",
    [405] = "bad_request",
    [408] = "client_timeout",
    [411] = "bad_request",
    [413] = "body_too_large",
    [414] = "bad_request",
    [417] = "bad_request",
    [431] = "bad_request",
    [494] = "bad_request",
    [497] = "bad_request",
    [499] = "client_left",
    [500] = "internal",
    [501] = "bad_request",
    [503] = "overloaded",
    [505] = "bad_request",
}

-- The last entry of one of nginx's lists of tries: "-" where there was none.
local function last(list)
    return match(list or "", "([^%s,:]*)[%s,:]*$")
end

-- The number of the last try that is over in one of nginx's lists of bytes. When the next one is about to
-- begin (*next*), the list has a place for it already: empty, "206 : ", or "0".
local function bytes(list, next)
    local pattern = next and not find(list, "[^%d]$") and "(%d+)[^%d]+%d+$" or "(%d+)[^%d]*$"
    return tonumber(match(list, pattern)) or 0
end

-- How many bytes of the request the last try sent that is over. The times in nginx's lists do not tell whether
-- anything was sent: a refused connection has one, too.
function M.bytes_sent(var, next)
    return bytes(var.upstream_bytes_sent or "0", next)
end

-- Why the last try that is over failed. *status* is nginx's for it; *sent* as `bytes_sent` returns it.
function M.of_try(var, status, sent, next)
    if sent == 0 then
        return status == 504 and "upstream_connect_timeout" or "upstream_refused"
    elseif status == 504 then
        return "upstream_read_timeout"
    elseif bytes(var.upstream_bytes_received or "0", next) == 0 then
        return "upstream_closed"
    end
    return "upstream_malformed"
end

-- The word for a request that is over, or nil. *context* is nil when it never was routed.
function M.of(var, context, status)
    if context and context.reason then
        return context.reason
    elseif status == 499 then
        return "client_left"
    end
    local backend = context and context.backend
    if not backend then
        return OWN[status]
    elseif context.own then
        return (status == 502 or status == 504) and context.failed or OWN[status]
    elseif context.interim or status == 101 then
        return nil
    elseif var.request_completion == "" then
        return "client_left" -- an endpoint that breaks off completes a request, in nginx's eyes
    end
    local whole = tonumber(var.upstream_http_content_length)
    if
        whole
        and whole > 0
        and status ~= 304
        and var.request_method ~= "HEAD"
        and (tonumber(last(var.upstream_response_length)) or 0) < whole
    then
        return "upstream_truncated"
    end
    return nil
end

return M
