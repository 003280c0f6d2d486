-- Hosts that have variants of paths or regular expressions; all others do without this module.
--
-- The order in which targets are asked is that of `ingresskit.graph.Route.precedence`: host-wide patterns, the
-- exact path, and then what begins with the most path elements, patterns before the prefix. A target of the row
-- is one, or has `variants`, {place, selection} each: the first whose selection holds takes the request,
-- and where none does, the next target is asked.

local handlers = require "ingresskit.handlers"

local random = math.random
local re_find = ngx.re.find
local get_headers, get_method = ngx.req.get_headers, ngx.req.get_method
local byte, find, sub, lower, match, gmatch, gsub = string.byte, string.find, string.sub, string.lower, string.match, string.gmatch, string.gsub
local char, concat, ipairs, tonumber, type = string.char, table.concat, ipairs, tonumber, type

local M = {}

-- Patterns are in a language that is matched in linear time (`ingresskit.policies.Pattern`), so that a fault
-- means that PCRE lacks memory. What a pattern may protect is closed then.
local function matches(pattern, text)
    local from, _, fault = re_find(text, pattern, "jos")
    if fault then
        ngx.log(ngx.ERR, "a regular expression cannot be matched: ", fault)
        return nil, true
    end
    return from ~= nil
end

local values = {}

-- A header field; several of one name count as one.
function values.header(name)
    -- The table itself: it would find "x-a" for "x_a".
    local found = rawget(get_headers(100), name)
    if type(found) == "table" then
        found = concat(found, ", ")
    elseif found == true then
        found = ""
    end
    return found and match(found, "^%s*(.-)%s*$")
end

-- The first cookie of a name.
function values.cookie(name)
    local header = rawget(get_headers(100), "cookie")
    if type(header) == "table" then
        header = concat(header, "; ")
    end
    for pair in gmatch((gsub(header or "", ",", ";")), "[^;]+") do
        local key, value = match(pair, "^%s*(.-)%s*=%s*(.-)%s*$")
        if key == name then
            return value
        end
    end
end

local function decoded(text)
    text = gsub(text, "+", " ")
    return (gsub(text, "%%(%x%x)", function(digits)
        return char(tonumber(digits, 16))
    end))
end

-- The first query parameter of a name, decoded as forms are.
function values.query(name, context)
    for pair in gmatch(sub(context.query, 2), "[^&]+") do
        local mark = find(pair, "=", 1, true)
        if decoded(mark and sub(pair, 1, mark - 1) or pair) == name then
            return mark and decoded(sub(pair, mark + 1)) or ""
        end
    end
end

function values.method()
    return get_method()
end

-- A part of the request: a `header`, `cookie` or `query` of that name, or the `method`.
function M.value(kind, name, context)
    return values[kind](name, context)
end

-- Whether a condition holds, and whether that cannot be told.
local function holds(condition, context)
    local value = values[condition.on](condition.name, context)
    local found, broken = value ~= nil, false
    if found and condition.is then
        found = value == condition.is
    elseif found and condition.matches then
        found, broken = matches(condition.matches, value)
    end
    return found ~= (condition.negated or false), broken
end

-- Whether a selection takes the request. Each share takes a part of one draw, so that all of them add up.
local function takes(selection, context)
    for _, condition in ipairs(selection.conditions or {}) do
        local held, broken = holds(condition, context)
        if broken then
            return nil, true
        elseif not held then
            return false
        end
    end
    if selection.share then
        context.draw = (context.draw or random()) - selection.share
        return context.draw < 0
    end
    return true
end

-- The target of the path itself, which takes what its variants leave; nil: there is none.
local function whole(host, target)
    local last = target.variants[#target.variants]
    return not last[2].conditions and not last[2].share and host.targets[last[1]] or nil
end

-- The target at a place that takes the request; nil: none does.
local function pick(host, place, context)
    local target = place and host.targets[place]
    if not target or not target.variants then
        return target
    end
    -- A client that has the affinity cookie of one of them stays there.
    for _, variant in ipairs(target.variants) do
        local own = host.targets[variant[1]]
        if own.backends and M.held(own.backends, context.generation, context, true) then
            return own
        end
    end
    for _, variant in ipairs(target.variants) do
        local taken, broken = takes(variant[2], context)
        if broken then
            return handlers.CLOSED
        elseif taken then
            local own = host.targets[variant[1]]
            -- What a variant without endpoints would take stays with the path that it is a variant of.
            if own.backends and not M.any(own.backends, context.generation) then
                own = whole(host, target) or own
            end
            return own
        end
    end
end

local function pick_pattern(host, patterns, path, context)
    for _, pattern in ipairs(patterns or {}) do
        local found, broken = matches(pattern[1], path)
        if broken then
            return handlers.CLOSED
        end
        local target = found and pick(host, pattern[2], context)
        if target then
            return target
        end
    end
end

-- The target for a path under a host whose row has `mixed`.
function M.find(host, path, context)
    local target = pick_pattern(host, host.mixed.wide, path, context) or pick(host, host.exact[path], context)
    if target then
        return target
    end
    local patterns, prefixes = host.mixed.patterns or {}, host.prefixes
    local cut = #path
    if cut > host.longest then
        cut = host.longest < 0 and 0 or host.longest
        while cut > 0 and byte(path, cut + 1) ~= 47 do
            cut = cut - 1
        end
    end
    while true do
        local elements = sub(path, 1, cut)
        target = pick_pattern(host, patterns[lower(elements)], path, context)
            or pick(host, prefixes[elements], context)
        if target or cut <= 0 then
            return target
        end
        cut = cut - 1
        while cut > 0 and byte(path, cut + 1) ~= 47 do
            cut = cut - 1
        end
    end
end

return M
