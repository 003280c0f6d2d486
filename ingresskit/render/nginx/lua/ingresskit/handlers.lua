-- From the names in a row to the functions of `ingresskit.policies`: once for each row that a worker decodes.
--
-- A target has lists of {name, argument}, which run in the order in which they stand:
--
--     guards    may respond instead of the endpoint; a function returns true when it did
--     request   change what the endpoint gets
--     response  change what the client gets
--     local_reply  functions for responses, which change those of nginx itself
--
-- A function gets the argument, the context of the request, and `ngx.var` or, for responses, the header. A name
-- that is not known closes the target: a newer controller may ask for a protection that this program lacks.

local replies = require "ingresskit.local_replies"

local ipairs, pairs = ipairs, pairs

local M = {}

local KINDS = { "guards", "request", "response", "local_reply" }

local known = { guards = {}, request = {}, response = {} }
for _, theme in ipairs { "access", "certificates", "connections", "cors", "redirects", "requests", "limits", "rates", "rewrites", "response_rewrites", "headers", "handover" } do
    local policies = require("ingresskit.policies." .. theme)
    for kind, functions in pairs(known) do
        for name, run in pairs(policies[kind] or {}) do
            functions[name] = run
        end
    end
end

known.local_reply = known.response

-- What a target without policies of its upstream has.
local NOTHING = {}

local function closed()
    replies.send(503, nil, "unavailable")
    return true
end

-- A target that responds 503 to every request.
M.CLOSED = { guards = { { closed } }, upstream = NOTHING }

-- Put functions in place of the names of one list. Returns the first name that is not known, or nil.
local function found(list, functions)
    for _, entry in ipairs(list) do
        local run = functions[entry[1]]
        if not run then
            return entry[1]
        end
        entry[1] = run
    end
end

-- Make the decoded row of a host ready.
function M.prepare(host)
    for _, target in ipairs(host.targets) do
        target.upstream = target.upstream or NOTHING
        for _, kind in ipairs(KINDS) do
            local unknown = target[kind] and found(target[kind], known[kind])
            if unknown then
                ngx.log(ngx.ERR, "a row names ", unknown, ", which is not known among ", kind, "; its paths respond 503")
                target.guards = { { closed } }
                break
            end
        end
    end
end

-- Run a list. Returns true when one of its functions responded.
function M.run(list, context, subject)
    for index = 1, #list do
        local entry = list[index]
        if entry[1](entry[2], context, subject) then
            return true
        end
    end
end

return M
