-- Requests of routes that the delegate serves: it is told who the client is, and which route was found.

local M = { request = {} }

-- In the words of `ingresskit.render.delegate.DELEGATE_FIELD`. *route* is its last three.
function M.request.handover(route, _, var)
    local client = var.ik_client .. " " .. var.ik_proto .. " " .. var.scheme .. " " .. var.server_port
    ngx.req.set_header("Ingresskit-Delegate", "1 " .. client .. " " .. route)
end

return M
