-- 64 different chat calls in turn, each with its own text and length, so that conversations do not repeat.
-- BENCH_BODIES names a file with ready bodies, one a line; without it BENCH_BODY_BYTES sets their size, BENCH_STREAM=1 asks for streams, BENCH_TRACED=1 gives each head a trace of its own.
local size = tonumber(os.getenv("BENCH_BODY_BYTES"))
local stream = os.getenv("BENCH_STREAM") == "1" and '"stream":true,' or ""
local traced = os.getenv("BENCH_TRACED") == "1"
local sentence = 'A relay carries what it is given, and adds nothing of its own. '
local text = string.rep(sentence, math.ceil(size / #sentence)):sub(1, size)
local bodies = {}
if os.getenv("BENCH_BODIES") ~= "" then
  for line in io.lines(os.getenv("BENCH_BODIES")) do
    bodies[#bodies + 1] = line
  end
end
local calls, turn = {}, 0

function init(args)
  for number = 1, 64 do
    local body = '{"model":"' .. os.getenv("BENCH_MODEL") .. '",' .. stream ..
      '"messages":[{"role":"system","content":"You are terse."},{"role":"user","content":"Call ' ..
      number .. ". " .. text:sub(1, size - number) .. '"}],"temperature":0.2,"max_tokens":256}'
    if #bodies > 0 then
      body = bodies[(number - 1) % #bodies + 1]
    end
    local headers = {
      ["Content-Type"] = "application/json",
      ["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY"),
    }
    if traced then
      headers["traceparent"] = string.format("00-%032x-%016x-01", number, number)
    end
    calls[number] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  turn = turn % #calls + 1
  return calls[turn]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %.1f %.1f %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
