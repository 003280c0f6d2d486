-- Counts of what is under way in all workers together, which outlive no worker that had a part of them.
--
-- Beside each count, a worker writes down which ones it has a part of, a place for each. A worker that ends in
-- order has given all of them back. One that crashes has not: nginx starts another one then, which looks for
-- workers that are gone, and gives back what they left.

local dict = ngx.shared.ingresskit_limits
-- Those of the other dictionary are forgotten when there is no room, and a crash must find this.
local workers = ngx.shared.ingresskit_interim

local ffi = require "ffi"

local remove = table.remove

ffi.cdef "int kill(int pid, int signal);"

local ESRCH = 3

local M = {}

local mine = 0 -- the id of this process
local most = 0 -- how many places it has had at most
local free = {}

-- Count one more under *key*; returns how many there are, and a place for `leave`. Nil: there is no memory for it.
function M.enter(key)
    local count = dict:incr(key, 1, 0)
    if not count then
        return nil
    end
    local place = remove(free)
    if not place then
        most = most + 1
        place = most
        workers:set("most:" .. mine, most)
    end
    dict:set("place:" .. mine .. ":" .. place, key)
    return count, place
end

-- One less.
function M.leave(key, place)
    dict:incr(key, -1)
    dict:delete("place:" .. mine .. ":" .. place)
    free[#free + 1] = place
end

local function gone(pid)
    return ffi.C.kill(pid, 0) ~= 0 and ffi.errno() == ESRCH
end

local function give_back(pid)
    for place = 1, workers:get("most:" .. pid) or 0 do
        local name = "place:" .. pid .. ":" .. place
        local key = dict:get(name)
        if key then
            dict:delete(name)
            dict:incr(key, -1)
        end
    end
    workers:delete("most:" .. pid)
end

-- A worker begins: it is known from now on, and those that are gone no longer.
function M.start()
    mine = ngx.worker.pid()
    local last = workers:get("workers") or 0
    local first = workers:get("first worker") or 1
    for number = first, last do
        local name = "worker:" .. number
        local pid = workers:get(name)
        -- Of several workers that begin at once, one gives back.
        if pid and gone(pid) and workers:add("gone:" .. pid, true, 60) then
            give_back(pid)
            workers:delete(name)
        end
    end
    while first <= last and not workers:get("worker:" .. first) do
        first = first + 1
    end
    workers:set("first worker", first)
    workers:set("worker:" .. workers:incr("workers", 1, 0), mine)
end

return M
