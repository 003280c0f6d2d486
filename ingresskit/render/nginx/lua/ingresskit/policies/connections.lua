-- What becomes of a connection to an endpoint. change: {close = whether it carries one request only}.

local M = { request = {} }

function M.request.connection(change, context, var)
    var.ik_upgrade = ""
    var.ik_connection = change.close and "close" or ""
    -- Such a connection is not taken from the kept ones, and not kept.
    context.binding = context.binding or change.close
end

return M
