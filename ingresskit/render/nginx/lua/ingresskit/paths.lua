-- The normal form of a path: the same as `ingresskit.graph.normalise_path`, refusals included.

local find = ngx.re.find
local byte, sub, gsub, upper, char = string.byte, string.sub, string.gsub, string.upper, string.char
local concat, format, tonumber = table.concat, string.format, tonumber

local M = {}

local MAX_BYTES = 8000

-- What is in normal form already; most requests are.
local PLAIN = [[\A(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)*+/?\z]]
-- Control characters, escaped or not.
local CONTROL = [[[\x00-\x1f\x7f]|%(?:0[0-9a-f]|1[0-9a-f]|7f)]]
-- Dot elements that only some applications see.
local HIDDEN_DOTS = [[(?:/|%2F|%5C)\.{1,2}(?:%2F|%5C|;|%3B)|(?:%2F|%5C)\.{1,2}(?:/|\z)]]

-- What each escape means, by its two digits: an unreserved character, or itself in upper case.
local MEANT = {}
for code = 0, 255 do
    local letter = char(code)
    local escape = format("%%%02X", code)
    local meant = find(letter, [[\A[A-Za-z0-9._~-]\z]], "jo") and letter or escape
    for _, high in ipairs { sub(escape, 2, 2), string.lower(sub(escape, 2, 2)) } do
        for _, low in ipairs { sub(escape, 3, 3), string.lower(sub(escape, 3, 3)) } do
            MEANT[high .. low] = meant
        end
    end
end

local function escape_byte(letter)
    return format("%%%02X", byte(letter))
end

-- Dot elements, which a path that was made of parts of another one must not have.
local DOTS = [[/\.{1,2}(?:[/;]|\z)]]

-- Separators that only some applications see.
local DOUBTFUL = ";|%3B|%2F|%5C"

local function resolve(path, keep)
    local elements, count, last = {}, 0, ""
    for element in string.gmatch(path, "/([^/]*)") do
        last = element
        if element == ".." then
            if count == 0 then
                return nil
            end
            elements[count] = nil
            count = count - 1
        elseif element ~= "." and (keep or element ~= "") then
            count = count + 1
            elements[count] = element
        end
    end
    if keep and last == "" then
        count = count - 1 -- what follows the last slash is no element
    end
    if count == 0 then
        return "/"
    end
    local slash = (last == "" or last == "." or last == "..") and "/" or ""
    return "/" .. concat(elements, "/", 1, count) .. slash
end

local function spell_out(path, options, keep_no_dots)
    if byte(path) ~= 47 or find(path, CONTROL, "joi") then
        return nil
    end
    path = gsub(path, "[^A-Za-z0-9._~/!$&'()*+,;=:@%%-]", escape_byte)
    local wrong = false
    path = gsub(path, "%%(.?.?)", function(digits)
        local meant = MEANT[digits]
        wrong = wrong or not meant
        return meant
    end)
    if wrong or find(path, HIDDEN_DOTS, "jo") then
        return nil
    end
    if options and options.strict and find(path, DOUBTFUL, "jo") then
        return nil
    end
    if keep_no_dots and find(path, DOTS, "jo") then
        return nil
    end
    path = resolve(path, options and options.keep_slashes)
    if path and #path > MAX_BYTES then
        return nil
    end
    return path
end

-- The normal form of *path*, which has no query; nil when it has none, and the request gets 400.
--
-- Most paths are in it already. What others need is a function of its own: one that makes closures is
-- never compiled, nor is whatever calls it.
--
-- options is the row of the settings of all hosts: keep_slashes and strict, as `ingresskit.graph.PathOptions`.
function M.normalise(path, options)
    if options and options.strict and find(path, ";", "jo") then
        return nil
    end
    if #path <= MAX_BYTES and find(path, PLAIN, "jo") then
        return path ~= "" and path or nil
    end
    return spell_out(path, options)
end

-- The same for a path that was made of parts of a request's path: `ingresskit.graph.normalise_rewritten`.
function M.rewritten(path, options)
    if not (options and options.strict) and #path <= MAX_BYTES and find(path, PLAIN, "jo") then
        return path
    end
    return spell_out(path, options, true)
end

return M
