-- The tables that requests are served by: rows of JSON in a dictionary all workers share.
--
-- A row is in one of these states, and says so in its first line, "<version>,<previous>,<length>":
--
-- 1. settled: its text is of <version>, and nothing of an older one is kept (<previous> is 0);
-- 2. staged: a push has put a text of <version> over one of <previous>, which is the first <length>
--    bytes of what follows. Until the push flips "generation", requests are served by the older one;
-- 3. removed: its text is empty. After the flip it is deleted.
--
-- So one write to "generation" switches every row of a push at once, for all workers, and a push that
-- never comes to its end has changed nothing. A worker keeps what it has decoded, and looks again
-- at a row when the generation changed since it last did, and decodes it only when its version did.

-- Its name changes with the form of the rows: nginx keeps a dictionary at a reload, and with it rows of a
-- controller of another version. One with a new name is filled from the disk.
local dict = ngx.shared.ingresskit_rows_2
local handlers = require "ingresskit.handlers"
local json = require "ingresskit.json"

local match, sub, tonumber = string.match, string.sub, tonumber

local M = {}

M.dict = dict

-- Whether `M.get` returned a row of a later generation than it was asked for, because that was
-- flipped meanwhile. Whoever reads several rows that must be of one state sets it to false before, and
-- begins anew when it is true after.
M.moved = false

-- What a worker has decoded, by kind of row, then by name: {checked = generation, version =, value =}.
local decoded = {}
local kept = 0
-- A bound on what names of long gone rows hold on to; more than the rows of a large cluster.
local MOST_KEPT = 200000

-- The generation that requests are served by; 0 before the first push.
function M.generation()
    return dict:get("generation") or 0
end

-- Version, previous version, text and previous text of a raw row.
local function parts(raw)
    local version, previous, length, start = match(raw, "^(%d+),(%d+),(%d+)\n()")
    length = tonumber(length)
    return tonumber(version), tonumber(previous), sub(raw, start + length), sub(raw, start, start + length - 1)
end
M.parts = parts

-- A raw row.
function M.row(version, text, previous, older)
    return version .. "," .. previous .. "," .. #older .. "\n" .. older .. text
end

-- Text and version of a row as of *generation*; nil when there is none. The third result says that the
-- generation is too old to tell: it was flipped twice since the caller read it.
function M.text(key, generation)
    local raw = dict:get(key)
    if not raw then
        return nil, 0, M.generation() ~= generation
    end
    local version, previous, text, older = parts(raw)
    if version > generation then
        if previous == 0 and M.generation() ~= generation then
            return nil, 0, true
        end
        version, text = previous, older
        if version > generation then
            return nil, 0, true
        end
    end
    if text == "" then
        return nil, version, false
    end
    return text, version, false
end

local function look(kind, rows, name, generation)
    local key = kind .. ":" .. name
    local text, version, stale = M.text(key, generation)
    local tries = 0
    M.moved = M.moved or stale
    while stale and tries < 100 do
        tries = tries + 1
        generation = M.generation()
        text, version, stale = M.text(key, generation)
    end
    local entry = rows[name]
    if text == nil then
        if entry then
            rows[name] = nil
            kept = kept - 1
        end
        return nil
    end
    if entry and entry.version == version then
        entry.checked = generation
        return entry.value
    end
    if not entry then
        if kept >= MOST_KEPT then
            decoded, kept = {}, 0
            rows = {}
            decoded[kind] = rows
        end
        kept = kept + 1
    end
    local value = json.decode(text)
    if kind == "h" then
        handlers.prepare(value)
    end
    rows[name] = { checked = generation, version = version, value = value }
    return value
end

-- The decoded row of a kind and name as of *generation*, the same table for as long as it does not
-- change; nil when there is none. Callers may keep working state in it.
function M.get(kind, name, generation)
    local rows = decoded[kind]
    if not rows then
        rows = {}
        decoded[kind] = rows
    end
    local entry = rows[name]
    if entry and entry.checked == generation then
        return entry.value
    end
    return look(kind, rows, name, generation)
end

return M
