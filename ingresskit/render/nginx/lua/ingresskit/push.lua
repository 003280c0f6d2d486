-- Takes new rows from the controller, over a socket that no other user can open; and reads them from
-- the disk before nginx serves its first request.
--
-- A push has one or more parts. Each part is lines, "<key>\t<text>\n" for a row and "<key>\n" for one
-- to remove, and says in its header:
--
--     X-Generation  a number above that of every push before it, finished or not
--     X-Base        the state it is made for: that of the last push; "-" for one that brings every row
--     X-Part        its number, from 1
--     X-Rows        how many lines it has
--     X-Checksum    the CRC-32 of its body
--     X-State       in the last part only: a name for the state it leads to
--
-- Rows are staged as parts arrive (see `ingresskit.tables`), and nothing of them is served. The last
-- part flips the generation. Anything that is not as announced, and a push that never ends, changes
-- nothing; what it staged is undone when the next one begins. Long pushes let requests pass between.

local tables = require "ingresskit.tables"
local json = require "ingresskit.json"

local dict = tables.dict

local match, gmatch, format, tonumber = string.match, string.gmatch, string.format, tonumber

local M = {}

local ROWS_AT_A_TIME = 400

-- Rows of kinds that requests read; other keys of the dictionary are this module's own.
local KIND = "^[bchns]:"

local function breathe(count)
    if count % ROWS_AT_A_TIME == 0 then
        ngx.sleep(0)
    end
end

local function refuse(status, reason)
    ngx.status = status
    ngx.print(reason, "\n")
    return ngx.exit(ngx.HTTP_OK)
end

-- Version and previous version of a raw row, without its texts.
local function versions(raw)
    local version, previous = match(raw, "^(%d+),(%d+),")
    return tonumber(version), tonumber(previous)
end

-- Put a row as of *generation* over what is served of it now; "" removes it.
local function stage(key, text, generation, served)
    local raw = dict:get(key)
    local previous, older = 0, ""
    if raw then
        local version, before, newest, old = tables.parts(raw)
        if version > served then -- staged in this push already
            previous, older = before, old
        else
            previous, older = version, newest
        end
    elseif text == "" then
        return true
    end
    if text == "" and previous == 0 then -- new in this very push
        dict:delete(key)
        return true
    end
    return dict:safe_set(key, tables.row(generation, text, previous, older))
end

-- Make a staged row the only text of its key.
local function settle(key, generation)
    local raw = match(key, KIND) and dict:get(key)
    if not raw then
        return
    end
    local version, previous = versions(raw)
    if version ~= generation or previous == 0 then
        return -- of another push, or new and so settled already
    end
    local _, _, text = tables.parts(raw)
    if text == "" then
        dict:delete(key)
    else
        dict:safe_set(key, tables.row(version, text, 0, ""))
    end
end

-- Undo what a push that never ended has staged.
local function undo(served)
    for count, key in ipairs(dict:get_keys(0)) do
        local raw = match(key, KIND) and dict:get(key)
        if raw then
            local version, previous, _, older = tables.parts(raw)
            if version > served then
                if previous == 0 then
                    dict:delete(key)
                else
                    dict:safe_set(key, tables.row(previous, older, 0, ""))
                end
            end
        end
        breathe(count)
    end
    dict:delete("staging")
end

local function header(name)
    return ngx.req.get_headers()[name]
end

local function body()
    ngx.req.read_body()
    local data = ngx.req.get_body_data()
    if data then
        return data
    end
    local path = ngx.req.get_body_file()
    if not path then
        return ""
    end
    local file = assert(io.open(path, "rb"))
    data = file:read("*a")
    file:close()
    return data
end

-- Undo or end whatever came before, and begin a push. Returns a status and reason when it may not.
local function begin(generation, base, served)
    local staging = dict:get("staging")
    if staging then
        undo(served)
    end
    if generation <= served or (staging and generation <= staging) then
        return 409, "generation " .. generation .. " is not above " .. (staging or served)
    end
    if base ~= "-" then
        local state = tables.text("s:state", served)
        if state ~= base then
            return 409, "the state is " .. (state or "none") .. ", not " .. base
        end
    end
    dict:safe_set("staging", generation)
    dict:safe_set("parts", 0)
    return nil
end

-- Stage the rows of a part. Returns their keys, or nil and what is wrong.
local function stage_rows(data, rows, generation, served)
    local keys, count = {}, 0
    for line, stop in gmatch(data, "([^\n]*)(\n?)") do
        if line ~= "" then
            local key, text = match(line, "^([^\t]+)\t([^\t]+)$")
            key = key or match(line, "^[^\t]+$")
            if stop == "" or not key or not match(key, KIND) then
                return nil, "line " .. (count + 1) .. " is not a row"
            end
            if key == "s:state" then
                return nil, "the state is not a row to send"
            end
            local done, fault = stage(key, text or "", generation, served)
            if not done then
                return nil, fault
            end
            count = count + 1
            keys[count] = key
            breathe(count)
            if count % ROWS_AT_A_TIME == 0 and dict:get("staging") ~= generation then
                return nil, "another push has begun"
            end
        end
    end
    if count ~= rows then
        return nil, "has " .. count .. " rows, not " .. rows
    end
    return keys
end

-- Remove what a push that brings every row did not bring.
local function remove_others(generation, served)
    for count, key in ipairs(dict:get_keys(0)) do
        local raw = match(key, KIND) and dict:get(key)
        if raw then
            if versions(raw) ~= generation then
                local done, fault = stage(key, "", generation, served)
                if not done then
                    return nil, fault
                end
            end
        end
        breathe(count)
    end
    return true
end

local function settle_all(keys, generation)
    for count, key in ipairs(keys) do
        settle(key, generation)
        breathe(count)
    end
end

-- Runs for POST on the private socket.
function M.receive()
    local generation, part, rows = tonumber(header("x-generation")), tonumber(header("x-part")), tonumber(header("x-rows"))
    local base, state, checksum = header("x-base"), header("x-state"), header("x-checksum")
    if not (generation and part and rows and base and checksum) then
        return refuse(400, "a field is missing")
    end
    local data = body()
    if format("%08x", ngx.crc32_long(data)) ~= checksum then
        return refuse(400, "the checksum is wrong")
    end
    local served = tables.generation()
    if part == 1 then
        local status, reason = begin(generation, base, served)
        if status then
            return refuse(status, reason)
        end
    elseif dict:get("staging") ~= generation or dict:get("parts") ~= part - 1 then
        return refuse(409, "part " .. part .. " does not follow")
    end
    local keys, fault = stage_rows(data, rows, generation, served)
    if not keys then
        return refuse(fault == "no memory" and 507 or 400, fault)
    end
    dict:safe_set("parts", part)
    if not state then
        return ngx.print("staged\n")
    end
    local done
    if base == "-" then
        done, fault = remove_others(generation, served)
        if not done then
            return refuse(507, fault)
        end
    end
    done, fault = stage("s:state", state, generation, served)
    if not done then
        return refuse(507, fault)
    end
    if dict:get("staging") ~= generation then
        return refuse(409, "another push has begun")
    end
    dict:set("generation", generation)
    dict:delete("staging")
    keys[#keys + 1] = "s:state"
    settle_all((part == 1 and base ~= "-") and keys or dict:get_keys(0), generation)
    return ngx.print("served\n")
end

-- Runs for GET: what is served now, as JSON.
function M.state()
    local served = tables.generation()
    local staging = dict:get("staging") or 0
    ngx.print(
        '{"generation":',
        served,
        ',"highest":',
        math.max(served, staging),
        ',"state":',
        json.quote(tables.text("s:state", served) or ""),
        ',"free":',
        dict:free_space(),
        ',"capacity":',
        dict:capacity(),
        "}\n"
    )
end

-- Put rows where there are none yet, when nginx starts. Raises an error when they do not fit.
local function put(data, generation)
    for line in gmatch(data, "[^\n]+") do
        local key, text = match(line, "^([^\t]+)\t([^\t]+)$")
        if key then
            local done, fault = dict:safe_set(key, tables.row(generation, text, 0, ""))
            if not done then
                error("the tables do not fit: " .. fault, 0)
            end
        else
            dict:delete(line)
        end
    end
end

-- The records of a file: each a line "push <generation> <base> <state> <bytes> <checksum>", then its rows.
-- Returns generation and state after the last whole one. A record that is cut, damaged or not made
-- for the state before it ends the reading: a controller was killed while it wrote it.
local function load_records(path, generation, state)
    local file = io.open(path, "rb")
    if not file then
        return generation, state
    end
    while true do
        local line = file:read("*l")
        local number, base, new, bytes, checksum = match(line or "", "^push (%d+) (%S+) (%S+) (%d+) (%x+)$")
        if not number or (base ~= state and base ~= "-") then
            break
        end
        local data = bytes == "0" and "" or file:read(tonumber(bytes))
        if not data or #data ~= tonumber(bytes) or format("%08x", ngx.crc32_long(data)) ~= checksum then
            break
        end
        generation, state = tonumber(number), new
        put(data, generation)
    end
    file:close()
    return generation, state
end

-- Fill the tables from the disk when they are empty: nginx was started, or they changed their size.
-- A reload keeps them. *folder* is that of the configuration, with a slash at its end.
function M.load(folder)
    if dict:get("generation") then
        return
    end
    local generation, state = load_records(folder .. "tables", 0, "")
    if generation == 0 then
        error(folder .. "tables cannot be read", 0)
    end
    generation, state = load_records(folder .. "../journal", generation, state)
    assert(dict:safe_set("s:state", tables.row(generation, state, 0, "")))
    assert(dict:safe_set("generation", generation))
end

return M
