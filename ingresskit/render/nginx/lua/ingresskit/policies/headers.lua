-- Header fields of requests and responses. change: {drop = names in lower case, set = {name, value} each}.

local clients = require "ingresskit.clients"
local fields = require "ingresskit.fields"

local clear_header, set_header = ngx.req.clear_header, ngx.req.set_header
local lower = string.lower

local M = { request = {}, response = {} }

local NOTHING = {}

-- Take out the fields that an application could take for one of *names*.
local function drop_spellings(odd, names)
    local gone = {}
    for _, name in ipairs(names) do
        gone[fields.plain(name)] = true
    end
    for _, name in ipairs(odd) do
        if gone[fields.plain(name)] then
            clear_header(name)
        end
    end
end

function M.request.headers(change, context, var)
    local drop = change.drop or NOTHING
    if context.odd then
        drop_spellings(context.odd, drop)
    end
    for _, name in ipairs(drop) do
        if name == "x-request-id" then
            var.ik_request_id = ""
        else
            clear_header(name)
        end
    end
    for _, field in ipairs(change.set or NOTHING) do
        if lower(field[1]) == "x-request-id" then
            var.ik_request_id = field[2]
        else
            set_header(field[1], field[2])
        end
    end
end

-- The field is for clients with TLS only: they may have used it up to a trusted proxy.
function M.response.hsts(value, context, header)
    header["Strict-Transport-Security"] = clients.over_tls(context, ngx.var) and value or nil
end

-- *header* is `ngx.header`, or what stands for it where nginx does not see the head.
function M.response.headers(change, _, header)
    for _, name in ipairs(change.drop or NOTHING) do
        if name == "server" or name == "date" then
            header[name] = "-" -- nginx adds its own to a response that never had one
        end
        header[name] = nil
    end
    for _, field in ipairs(change.set or NOTHING) do
        header[field[1]] = field[2]
    end
end

return M
