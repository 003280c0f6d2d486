-- Which pages of other sites may read responses. cors: {origins = pattern (nil: all), fields = {name, value} each,
-- every_options = whether each OPTIONS request is a preflight}.

local replies = require "ingresskit.local_replies"

local get_headers, re_find, get_method = ngx.req.get_headers, ngx.re.find, ngx.req.get_method
local concat, type = table.concat, type

local M = { guards = {}, response = {} }

local function set_fields(cors, origin, header)
    header["Access-Control-Allow-Origin"] = origin
    for _, field in ipairs(cors.fields) do
        header[field[1]] = field[2]
    end
end

-- The origin of a request; nginx has a variable for the first field only, and several fields are one list.
local function sent_origin(var)
    local first = var.http_origin
    if first then
        local all = get_headers(0)["origin"]
        return type(all) == "table" and concat(all, ", ") or first
    end
end

-- Requests but preflights of allowed origins, which get 204. Keeps the origin for the response, since policies may
-- take it out of the request.
function M.guards.preflight(cors, context, var)
    local origin = sent_origin(var)
    context.cors_judged = true
    if cors.origins and not (origin and re_find(origin, cors.origins, "joi")) then
        return
    end
    context.cors_origin = cors.origins and origin or "*"
    if get_method() ~= "OPTIONS" then
        return
    end
    if cors.every_options or origin and var.http_access_control_request_method then
        local header = ngx.header
        set_fields(cors, context.cors_origin, header)
        if cors.origins then
            header["Vary"] = "Origin"
        end
        context.preflight = true
        replies.empty(204)
        return true
    end
end

function M.response.cors(cors, context, header)
    if context.preflight or not context.cors_judged then
        return -- it has its fields, or nginx refused the request before it came to that
    end
    if cors.origins then
        -- Also for other origins, and without one: a cache must not give them each other's responses.
        local vary = header["Vary"]
        if type(vary) == "table" then
            vary = concat(vary, ", ")
        end
        header["Vary"] = vary and vary ~= "" and vary .. ", Origin" or "Origin"
    end
    if context.cors_origin then
        set_fields(cors, context.cors_origin, header)
    end
end

return M
