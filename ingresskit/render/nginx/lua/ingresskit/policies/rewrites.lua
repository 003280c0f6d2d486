-- The path and the host that an endpoint gets.

local paths = require "ingresskit.paths"
local replies = require "ingresskit.local_replies"
local templates = require "ingresskit.templates"

local re_match = ngx.re.match
local byte, format, gsub, sub = string.byte, string.format, string.gsub, string.sub

local M = { request = {} }

local NO_GROUPS = {}

-- Put a prefix in place of the matched part, or a path in place of all.
-- change: {prefix =, matched = its length} or {path =}.
function M.request.rewrite(change, context)
    local path = change.path or change.prefix .. sub(context.path, change.matched + 1)
    context.path = path ~= "" and path or "/"
end

local function escape(letter)
    return format("%%%02X", byte(letter))
end

-- What of a path would end a value in a query, or begin another one there.
local function as_values(groups)
    local values = {}
    for place = 1, 9 do
        values[place] = groups[place] and gsub(groups[place], "[^A-Za-z0-9._~%%/:@-]", escape)
    end
    return values
end

-- Make the path anew of what a pattern captures; one that leads away is refused.
-- change: {pattern = (nil: there are no captures), path = template, query = template or nil}.
function M.request.pattern(change, context)
    local groups = NO_GROUPS
    if change.pattern then
        groups = re_match(context.path, change.pattern, "jos")
        if not groups then
            return
        end
    end
    local path = templates.expand(change.path, groups)
    if byte(path) ~= 47 then
        path = "/" .. path
    end
    path = paths.rewritten(path, context.path_options)
    if not path then
        replies.refuse(400)
        return true
    end
    context.path = path
    if change.query then
        local more = sub(context.query, 2)
        context.query = "?" .. templates.expand(change.query, as_values(groups)) .. (more ~= "" and "&" .. more or "")
    end
end

-- Send another host to endpoints; they learn that of the client by X-Forwarded-Host.
-- change: {host =, name = for TLS, or nil}.
function M.request.host(change, context, var)
    var.ik_forwarded_host = var.ik_forwarded_host -- it follows ik_host until it is set
    var.ik_host = change.host
    context.server_name = change.name or ""
end

return M
