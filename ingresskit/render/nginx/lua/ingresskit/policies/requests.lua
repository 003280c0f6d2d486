-- Which requests are served at all: by their method, and by what their client says of itself.

local replies = require "ingresskit.local_replies"

local re_find, get_method = ngx.re.find, ngx.req.get_method
local ipairs, match = ipairs, string.match

local M = { guards = {} }

-- Requests with a method of *methods*, {allow = the list as text, known = {method = true}}; the others get 405.
function M.guards.methods(methods)
    if not methods.known[get_method()] then
        ngx.header["Allow"] = methods.allow
        replies.send(405, nil, "denied")
        return true
    end
end

-- Whether *value* matches one of *patterns*. A pattern that cannot be matched, for want of memory, counts as one.
local function found(patterns, value)
    if not patterns or not value then
        return false
    end
    value = match(value, "^%s*(.-)%s*$")
    for _, pattern in ipairs(patterns) do
        local from, _, fault = re_find(value, pattern, "jos")
        if from or fault then
            return true
        end
    end
    return false
end

-- Requests but those of certain programs, or from certain pages, which get 403.
function M.guards.agents(denied, _, var)
    if found(denied.agents, var.http_user_agent) or found(denied.referers, var.http_referer) then
        replies.send(403, nil, "denied")
        return true
    end
end

return M
