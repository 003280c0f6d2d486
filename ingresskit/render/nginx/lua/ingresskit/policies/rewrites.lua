-- The path that an endpoint gets.

local sub = string.sub

local M = { request = {} }

-- Put a prefix in place of the matched part, or a path in place of all.
-- change: {prefix =, matched = its length} or {path =}.
function M.request.rewrite(change, context)
    local path = change.path or change.prefix .. sub(context.path, change.matched + 1)
    context.path = path ~= "" and path or "/"
end

return M
