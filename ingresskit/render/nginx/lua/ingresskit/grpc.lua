-- gRPC: its requests to endpoints, and what its clients are told of errors.
--
-- Local replies to a gRPC client are 200 with its own status in fields and no body, as
-- `ingresskit.render.grpc_status` has it.

local re_find = ngx.re.find
local gsub, match, sub, char = string.gsub, string.match, string.sub, string.char

local M = {}

local STATUSES = {
    [400] = 13,
    [401] = 16,
    [403] = 7,
    [404] = 12,
    [408] = 4,
    [413] = 8,
    [429] = 14,
    [502] = 14,
    [503] = 14,
    [504] = 4,
}
local UNKNOWN = 2

local CONTENT = [[\Aapplication/grpc(?:[+; ]|\z)]]

-- Whether the client of this request speaks gRPC.
function M.asked()
    local var = ngx.var
    if var.server_protocol ~= "HTTP/2.0" then
        return false
    end
    local content = var.http_content_type
    return content ~= nil and re_find(content, CONTENT, "joi") ~= nil
end

-- Respond for *status*, whose line of text is *words*; *add* puts the fields of policies into a header.
function M.send(status, words, context, add)
    if context then
        context.status = status -- for logs and counts
    end
    ngx.status = 200
    local header = ngx.header
    header["Content-Type"] = "application/grpc"
    header["Content-Length"] = 0
    header["grpc-status"] = STATUSES[status] or UNKNOWN
    header["grpc-message"] = gsub(sub(words, 1, -2), "[^ -$&-~]", "")
    add(context, header)
    ngx.send_headers()
    return ngx.exit(ngx.HTTP_OK)
end

local function decoded(hex)
    return char(tonumber(hex, 16))
end

-- Send the request to its endpoint, by a location for it: with the largest body that the policies allow.
function M.exec(context, path, query)
    if path .. query ~= context.uri then
        -- nginx escapes again what has to be.
        ngx.req.set_uri((gsub(path, "%%(%x%x)", decoded)))
        ngx.req.set_uri_args(sub(query, 2))
    end
    local power = context.location and match(context.location, "%d+$")
    return ngx.exec(power and "@grpc_" .. power or "@grpc")
end

return M
