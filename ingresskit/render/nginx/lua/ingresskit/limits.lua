-- The largest body of a request whose length nobody announced.
--
-- nginx counts such a body only against a limit that stands in its configuration, so there is a location
-- for each power of two, which keeps an endless body off the disk; there it is read whole, and then
-- measured. Bodies of announced length are judged by `ingresskit.router`, and streamed.

local answers = require "ingresskit.answers"
local contexts = require "ingresskit.contexts"

local M = {}

-- The powers there is a location for: from a kibibyte to beyond the largest limit there can be.
local FIRST, LAST = 10, 50

-- The location for a limit in bytes.
function M.location(limit)
    local power = FIRST
    while 2 ^ power < limit and power < LAST do
        power = power + 1
    end
    return "@body_" .. power
end

local function size()
    local data = ngx.req.get_body_data()
    if data then
        return #data
    end
    local path = ngx.req.get_body_file()
    if not path then
        return 0
    end
    local file = assert(io.open(path, "rb"))
    local bytes = file:seek("end")
    file:close()
    return bytes
end

-- Read the body and judge it. Runs in the access phase of those locations.
function M.check()
    ngx.req.read_body()
    if size() > contexts.current().target.m then
        return answers.give(413, nil, "body_too_large")
    end
end

return M
