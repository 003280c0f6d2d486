-- Reads the JSON that the controller writes, and writes flat objects of numbers.
--
-- Debian's Lua module comes without cjson. What is read here was made by `json.dumps` of the
-- controller: ASCII, no white space outside of texts. Anything else is an error, never a guess.

local byte, find, sub, char, tonumber = string.byte, string.find, string.sub, string.char, tonumber
local concat, gsub, format = table.concat, string.gsub, string.format

local M = {}

-- What stands for null: a value of its own, since nil in a table is no value at all.
M.null = ngx.null

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function fail(at, what)
    error("not JSON at byte " .. at .. ": " .. what, 0)
end

-- The UTF-8 of a code point.
local function utf8(code)
    if code < 0x80 then
        return char(code)
    elseif code < 0x800 then
        return char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
        return char(0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return char(
        0xF0 + math.floor(code / 0x40000),
        0x80 + math.floor(code / 0x1000) % 0x40,
        0x80 + math.floor(code / 0x40) % 0x40,
        0x80 + code % 0x40
    )
end

local function read_text(text, at)
    local stop = find(text, '["\\]', at)
    if not stop then
        fail(at, "a text without an end")
    end
    if byte(text, stop) == 34 then -- most texts have no escape
        return sub(text, at, stop - 1), stop + 1
    end
    local parts = {}
    while true do
        parts[#parts + 1] = sub(text, at, stop - 1)
        if byte(text, stop) == 34 then
            return concat(parts), stop + 1
        end
        local letter = sub(text, stop + 1, stop + 1)
        if letter == "u" then
            local digits = string.match(text, "^%x%x%x%x", stop + 2)
            if not digits then
                fail(stop, "a wrong escape")
            end
            local code = tonumber(digits, 16)
            at = stop + 6
            if code >= 0xD800 and code < 0xDC00 then
                local low = string.match(text, "^\\u([dD][c-fC-F]%x%x)", at)
                if not low then
                    fail(stop, "half of a pair")
                end
                code = 0x10000 + (code - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00
                at = at + 6
            end
            parts[#parts + 1] = utf8(code)
        else
            if not ESCAPES[letter] then
                fail(stop, "a wrong escape")
            end
            parts[#parts + 1] = ESCAPES[letter]
            at = stop + 2
        end
        stop = find(text, '["\\]', at)
        if not stop then
            fail(at, "a text without an end")
        end
    end
end

local read_value

local function read_array(text, at)
    local array, count = {}, 0
    if byte(text, at) == 93 then
        return array, at + 1
    end
    while true do
        count = count + 1
        array[count], at = read_value(text, at)
        local after = byte(text, at)
        if after == 93 then
            return array, at + 1
        elseif after ~= 44 then
            fail(at, "neither , nor ]")
        end
        at = at + 1
    end
end

local function read_object(text, at)
    local object = {}
    if byte(text, at) == 125 then
        return object, at + 1
    end
    while true do
        if byte(text, at) ~= 34 then
            fail(at, "a name is missing")
        end
        local name
        name, at = read_text(text, at + 1)
        if byte(text, at) ~= 58 then
            fail(at, ": is missing")
        end
        object[name], at = read_value(text, at + 1)
        local after = byte(text, at)
        if after == 125 then
            return object, at + 1
        elseif after ~= 44 then
            fail(at, "neither , nor }")
        end
        at = at + 1
    end
end

local WORDS = { { "true", true }, { "false", false }, { "null", M.null } }

function read_value(text, at)
    local first = byte(text, at)
    if first == 34 then
        return read_text(text, at + 1)
    elseif first == 123 then
        return read_object(text, at + 1)
    elseif first == 91 then
        return read_array(text, at + 1)
    end
    local _, stop = find(text, "^-?%d+%.?%d*[eE]?[-+]?%d*", at)
    if stop then
        local number = tonumber(sub(text, at, stop))
        if number then
            return number, stop + 1
        end
    end
    for _, word in ipairs(WORDS) do
        if sub(text, at, at + #word[1] - 1) == word[1] then
            return word[2], at + #word[1]
        end
    end
    fail(at, "a value is missing")
end

-- The value that *text* holds; raises an error when it is not one value and nothing else.
function M.decode(text)
    local value, at = read_value(text, 1)
    if at ~= #text + 1 then
        fail(at, "something after the end")
    end
    return value
end

local function escape(letter)
    return format("\\u%04x", byte(letter))
end

-- A text as JSON, whatever bytes it has.
function M.quote(text)
    return '"' .. gsub(text, '["\\%c\128-\255]', escape) .. '"'
end

return M
