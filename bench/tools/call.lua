-- One call of a tool again and again. BENCH_BODY is the message, BENCH_HEADERS its headers, one a line.
local headers = {}
for line in os.getenv("BENCH_HEADERS"):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  headers[name] = value
end
local call

function init(args)
  call = wrk.format("POST", nil, headers, os.getenv("BENCH_BODY"))
end

function request()
  return call
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %.1f %.1f %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
