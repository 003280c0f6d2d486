-- Interim responses (1xx) of endpoints (RFC 9110, 15.2). nginx before 1.29 takes one for the response
-- itself, and all that follows for its body: the final head among it, as it came.
--
-- So the head of the final response is found in what passes, and edited there. Looking at every body would
-- cost every request; so it is done from the second response on of a backend that sent an interim one. The
-- first one's final head passes as the endpoint wrote it, and so do those of other workers until they have
-- learnt the name, which they look for twice a second: a request has no time to ask.

local affinity = require "ingresskit.affinity"
local contexts = require "ingresskit.contexts"
local handlers = require "ingresskit.handlers"

local find, sub, lower, match, gmatch, concat = string.find, string.sub, string.lower, string.match, string.gmatch, table.concat

local M = {}

M.LOCATION = "@interim"

local MAX_HEAD_BYTES = 65536

local INTERVAL = 0.5
local MOST = 10000

-- Names of backends by number, in the order in which workers added them; "last" is the newest number. What
-- the dictionary forgets is learnt again.
local shared = ngx.shared.ingresskit_interim

-- The same in this worker; emptied when full.
local seen, count, last_read = {}, 0, 0

local function remember(name)
    if count >= MOST then
        seen, count = {}, 0
    end
    if not seen[name] then
        seen[name] = true
        count = count + 1
    end
end

-- Learn the names that any worker added.
local function learn()
    local last = shared:get("last") or 0
    for number = math.max(last_read, last - MOST) + 1, last do
        local name = shared:get(number)
        if name then
            remember(name)
        end
    end
    last_read = last
end

-- Begin to learn, in each worker; those of a new configuration know what the old ones knew.
function M.start()
    learn()
    ngx.timer.every(INTERVAL, learn)
end

function M.expected(backend)
    return seen[backend.name]
end

-- An interim response came, as what nginx takes for the head of the response.
function M.begin(context)
    local name = context.backend.name
    if not seen[name] then
        remember(name)
        local number = shared:incr("last", 1, 0)
        if number then
            shared:set(number, name)
        end
    end
    context.interim = { buffer = "" }
end

local DROPPED = {
    ["connection"] = true,
    ["keep-alive"] = true,
    ["proxy-authenticate"] = true,
    ["proxy-authentication-info"] = true,
    ["proxy-connection"] = true,
    ["te"] = true,
    ["trailer"] = true,
    ["upgrade"] = true,
    ["http2-settings"] = true,
}

-- The lines of a head as {name in lower case, line}, and its status line; nil when a line is malformed.
local function read(head)
    local lines, start = {}, nil
    for line in gmatch(head, "(.-)\r\n") do
        if not start then
            start = line
        elseif line ~= "" then
            local name = match(line, "^([%w!#$%%&'*+.^_`|~-]+):[^%z\n\r]*$")
            if not name then
                return nil
            end
            lines[#lines + 1] = { lower(name), line }
        end
    end
    return lines, start
end

local function dropped_names(lines)
    local names = setmetatable({}, { __index = DROPPED })
    for _, entry in ipairs(lines) do
        if entry[1] == "connection" then
            for token in gmatch(lower(sub(entry[2], 12)), "[^,%s]+") do
                names[token] = token ~= "content-length" and token ~= "transfer-encoding"
            end
        end
    end
    return names
end

-- Have the target change a head that nginx does not see: what it sets and drops, by names in lower case, as
-- {name, value} or false.
local function changes(target, context, lines)
    local changed, order = {}, {}
    if target.response then
        local header = setmetatable({}, {
            -- As it was set here, or the endpoint sent it: several joined by commas.
            __index = function(_, name)
                local key, values = lower(name), {}
                if changed[key] ~= nil then
                    return changed[key] and changed[key][2] or nil
                end
                for _, entry in ipairs(lines) do
                    if entry[1] == key then
                        values[#values + 1] = match(sub(entry[2], #key + 2), "^%s*(.-)%s*$")
                    end
                end
                if key == "set-cookie" then
                    return values[1] and values
                end
                return values[1] and concat(values, ", ") or nil
            end,
            __newindex = function(_, name, value)
                local key = lower(name)
                if changed[key] == nil then
                    order[#order + 1] = key
                end
                changed[key] = value ~= nil and { name, value } or false
            end,
        })
        handlers.run(target.response, context, header)
    end
    return changed, order
end

-- The final head as the client gets it; nil when its framing is in doubt.
local function edited(lines, start, context)
    local drop = dropped_names(lines)
    local changed, order = changes(context.target, context, lines)
    local kept, lengths, codings = { start }, 0, 0
    for _, entry in ipairs(lines) do
        if entry[1] == "content-length" then
            lengths = lengths + 1
        elseif entry[1] == "transfer-encoding" then
            codings = codings + 1
            if lower(match(entry[2], ":%s*(.-)%s*$")) ~= "chunked" then
                return nil
            end
        end
        if not drop[entry[1]] and changed[entry[1]] == nil then
            kept[#kept + 1] = entry[2]
        end
    end
    if lengths > 1 or codings > 1 or lengths + codings > 1 then
        return nil
    end
    for _, key in ipairs(order) do
        local field = changed[key]
        if field then
            for _, value in ipairs(type(field[2]) == "table" and field[2] or { field[2] }) do
                kept[#kept + 1] = field[1] .. ": " .. value
            end
        end
    end
    if context.seat_value then
        kept[#kept + 1] = "Set-Cookie: " .. affinity.cookie(context)
    end
    -- nginx cannot see where this response ends, and so takes no further request on the connection.
    kept[#kept + 1] = "Connection: close"
    return concat(kept, "\r\n") .. "\r\n\r\n"
end

-- body_filter_by_lua of the location for such backends.
function M.body()
    local context = contexts.current()
    local state = context and context.interim
    if not state or state.done then
        return
    end
    local buffer, out = state.buffer .. (ngx.arg[1] or ""), ""
    while true do
        local _, last = find(buffer, "\r\n\r\n", 1, true)
        if not last then
            if #buffer > MAX_HEAD_BYTES or ngx.arg[2] then
                return ngx.ERROR
            end
            state.buffer = buffer
            ngx.arg[1] = out ~= "" and out or nil
            return
        end
        local lines, start = read(sub(buffer, 1, last))
        local status = lines and tonumber(match(start, "^HTTP/1%.[01] (%d%d%d)"))
        if not status or status == 101 then
            return ngx.ERROR
        end
        local rest = sub(buffer, last + 1)
        if status >= 200 then
            local head = edited(lines, start, context)
            if not head then
                return ngx.ERROR
            end
            state.done = true
            state.buffer = nil
            context.status = status
            ngx.arg[1] = out .. head .. rest
            return
        end
        -- A second interim response says nothing that a client waits for.
        buffer = rest
    end
end

return M
