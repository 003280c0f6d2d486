-- The path that an endpoint gets.

local sub = string.sub

local M = { request = {} }

-- Put a prefix in place of the matched part. change: {prefix =, matched = its length}.
function M.request.rewrite(change, context)
    local path = change.prefix .. sub(context.path, change.matched + 1)
    context.path = path ~= "" and path or "/"
end

return M
