-- What is known of the requests under way, from the rewrite phase to the log phase.
--
-- Not `ngx.ctx`: nginx forgets that when a request goes on in another location, as it does for its
-- errors, and then an endpoint would stay busy for ever. The address of a request is the same in all
-- phases, and its log phase, which always comes, ends its entry.

local base = require "resty.core.base"
local cast = require("ffi").cast

local get_request, tonumber = base.get_request, tonumber

local M = {}

local under_way = {}

local function key()
    return tonumber(cast("intptr_t", get_request()))
end

-- Begin with *context*, which takes the place of anything older.
function M.begin(context)
    under_way[key()] = context
end

-- The context of the present request; nil when it never was routed.
function M.current()
    return under_way[key()]
end

-- The same, and its end.
function M.finish()
    local name = key()
    local context = under_way[name]
    under_way[name] = nil
    return context
end

return M
