-- What endpoints say of their own place in responses: the domain and path of cookies, and redirects.
--
-- A change has {pattern =, to = template} or {from = template, to = template}; the first that fits is made.

local clients = require "ingresskit.clients"
local templates = require "ingresskit.templates"

local re_match = ngx.re.match
local find, gsub, lower, match, sub = string.find, string.gsub, string.lower, string.match, string.sub
local expand, ipairs, type = templates.expand, ipairs, type

local M = { response = {} }

local NO_GROUPS = {}

-- The text that takes the place of *text*; nil: it stays. *whole*: a change is about the text as a whole.
local function changed(list, text, names, whole)
    for _, change in ipairs(list) do
        if change.pattern then
            local groups = re_match(text, change.pattern, "jos")
            if groups then
                return expand(change.to, groups, names)
            end
        else
            local from = expand(change.from, NO_GROUPS, names)
            if whole and lower(from) == lower(text) then
                return expand(change.to, NO_GROUPS, names)
            elseif not whole and sub(text, 1, #from) == from then
                return expand(change.to, NO_GROUPS, names) .. sub(text, #from + 1)
            end
        end
    end
end

local function attribute(change, before, name, equals, value, after)
    local made
    if lower(name) == "domain" and change.domains then
        made = changed(change.domains, match(value, "^%.?(.*)$"), nil, true)
    elseif lower(name) == "path" and change.paths then
        made = changed(change.paths, value)
    end
    return made and before .. name .. equals .. made .. after
end

local function cookie(change, text)
    local first = match(text, "^[^;]*")
    local rest = gsub(sub(text, #first + 1), "(;%s*)([^=;%s]+)(%s*=%s*)([^;]*)", function(before, name, equals, value)
        local bare, after = match(value, "^(.-)(%s*)$")
        return attribute(change, before, name, equals, bare, after)
    end)
    return first .. rest
end

-- change: {domains = changes or nil, paths = changes or nil}.
function M.response.cookies(change, _, header)
    local cookies = header["Set-Cookie"]
    if not cookies then
        return
    end
    if type(cookies) ~= "table" then
        cookies = { cookies }
    end
    local made = {}
    for place, text in ipairs(cookies) do
        made[place] = cookie(change, text)
    end
    header["Set-Cookie"] = made
end

-- change: {list = changes, absolute = whether a location that becomes a path gets scheme and host}.
function M.response.locations(change, context, header)
    local list = change.list
    local location, refresh = header["Location"], header["Refresh"]
    if not location and not refresh then
        return
    end
    local var = ngx.var
    local names = {
        scheme = clients.over_tls(context, var) and "https" or "http",
        host = context.host,
        http_host = context.http_host,
    }
    local made = type(location) == "string" and changed(list, location, names)
    if made then
        if change.absolute and sub(made, 1, 1) == "/" then
            made = names.scheme .. "://" .. names.host .. made
        end
        header["Location"] = made
    end
    if type(refresh) == "string" then
        local _, last = find(lower(refresh), "url=", 1, true)
        made = last and changed(list, sub(refresh, last + 1), names)
        if made then
            header["Refresh"] = sub(refresh, 1, last) .. made
        end
    end
end

return M
