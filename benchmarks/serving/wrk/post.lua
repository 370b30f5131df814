-- Sends bodies in turns and tells, at the end, one line of JSON: requests, latencies, and answers by status.
--   BODIES=one.bin:two.bin CONTENT_TYPE=application/json wrk -t1 -c64 -d5s -s post.lua http://127.0.0.1:8000/predict
-- Header lines besides: HEADERS="name: value\nname: value".

local threads = {}
local requests = {}
local place = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  statuses = ""  -- of this thread; a global, so that done() can read it
  seen = {}
  wrk.method = "POST"
  wrk.headers["content-type"] = os.getenv("CONTENT_TYPE")
  for name, value in string.gmatch(os.getenv("HEADERS") or "", "([^:\n]+): ([^\n]+)") do
    wrk.headers[name] = value
  end
  for name in string.gmatch(os.getenv("BODIES"), "[^:]+") do
    local file = assert(io.open(name, "rb"))
    wrk.body = file:read("*a")
    file:close()
    table.insert(requests, wrk.format())
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function response(status, headers, body)
  seen[status] = (seen[status] or 0) + 1
  if seen[status] == 1 or status ~= 200 or seen[status] % 100 == 0 then
    local parts = {}
    for code, count in pairs(seen) do
      table.insert(parts, code .. "=" .. count)
    end
    statuses = table.concat(parts, ",")
  end
end

function done(summary, latency, rest)
  local totals = {}
  for _, thread in ipairs(threads) do
    for code, count in string.gmatch(thread:get("statuses"), "(%d+)=(%d+)") do
      totals[code] = (totals[code] or 0) + count
    end
  end
  local refused = {}
  for code, count in pairs(totals) do
    if code ~= "200" then
      table.insert(refused, string.format('"%s": %d', code, count))
    end
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, ',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3))
  io.write(string.format(
    '"refused": {%s}, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    table.concat(refused, ", "), errors.connect, errors.read, errors.write, errors.timeout))
end
