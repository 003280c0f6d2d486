-- Addresses as texts that compare like numbers: "4" and 8 hexadecimal digits, or "6" and 32.
--
-- An IPv4 address mapped into IPv6 is the IPv4 address. Ranges are {first, last, first, last, ...},
-- sorted, so that asking a list of ten thousand takes a handful of comparisons.

local match, format, tonumber, gmatch, rep, sub = string.match, string.format, tonumber, string.gmatch, string.rep, string.sub
local floor = math.floor

local M = {}

local function read_four(text)
    local a, b, c, d = match(text, "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
    if not a then
        return nil
    end
    for _, part in ipairs { a, b, c, d } do
        if tonumber(part) > 255 or (#part > 1 and sub(part, 1, 1) == "0") then
            return nil
        end
    end
    return format("%02x%02x%02x%02x", a, b, c, d)
end

local function read_groups(text, groups)
    if text == "" then
        return true
    end
    for group, mark in gmatch(text .. ":", "([^:]*)(:)") do
        if not match(group, "^%x%x?%x?%x?$") then
            return false
        end
        groups[#groups + 1] = rep("0", 4 - #group) .. string.lower(group)
    end
    return #groups <= 8
end

local function read_six(text)
    local lead, four = match(text, "^(.*:)(%d+%.%d+%.%d+%.%d+)$")
    if four then
        local hex = read_four(four)
        if not hex then
            return nil
        end
        text = lead .. sub(hex, 1, 4) .. ":" .. sub(hex, 5, 8)
    end
    local front, back = {}, {}
    local left, right = match(text, "^(.-)::(.*)$")
    if left then
        if string.find(right, "::", 1, true) or not read_groups(left, front) or not read_groups(right, back) then
            return nil
        end
        if #front + #back > 7 then
            return nil
        end
    elseif not read_groups(text, front) or #front ~= 8 then
        return nil
    end
    return table.concat(front) .. rep("0000", 8 - #front - #back) .. table.concat(back)
end

-- The address in *text* in the form above; nil when it is none. A zone ("%eth0") is left out.
function M.read(text)
    local four = read_four(text)
    if four then
        return "4" .. four
    end
    local six = read_six(match(text, "^([^%%]*)"))
    if not six then
        return nil
    end
    if sub(six, 1, 24) == "00000000000000000000ffff" then
        return "4" .. sub(six, 25)
    end
    return "6" .. six
end

-- The usual text of an address in the form above (RFC 5952).
function M.show(address)
    if sub(address, 1, 1) == "4" then
        local value = tonumber(sub(address, 2), 16)
        return format("%d.%d.%d.%d", floor(value / 16777216), floor(value / 65536) % 256, floor(value / 256) % 256, value % 256)
    end
    local groups, best, best_length, run = {}, 0, 1, 0
    for index = 1, 8 do
        groups[index] = format("%x", tonumber(sub(address, index * 4 - 2, index * 4 + 1), 16))
        run = groups[index] == "0" and run + 1 or 0
        if run > best_length then
            best, best_length = index - run + 1, run
        end
    end
    if best == 0 then
        return table.concat(groups, ":")
    end
    return table.concat(groups, ":", 1, best - 1) .. "::" .. table.concat(groups, ":", best + best_length, 8)
end

-- Whether *address* lies in one of *ranges*.
function M.within(address, ranges)
    local low, high = 1, #ranges / 2
    while low <= high do
        local middle = floor((low + high) / 2)
        if address < ranges[middle * 2 - 1] then
            high = middle - 1
        elseif address > ranges[middle * 2] then
            low = middle + 1
        else
            return true
        end
    end
    return false
end

return M
