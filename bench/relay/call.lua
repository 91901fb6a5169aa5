-- One chat call over and over. BENCH_BODY_BYTES sets its size, BENCH_STREAM=1 asks for a stream.
local size = tonumber(os.getenv("BENCH_BODY_BYTES"))
local stream = os.getenv("BENCH_STREAM") == "1" and '"stream":true,' or ""
local sentence = 'A relay carries what it is given, and adds nothing of its own. '
local text = string.rep(sentence, math.ceil(size / #sentence)):sub(1, size)
wrk.method = "POST"
wrk.body = '{"model":"' .. os.getenv("BENCH_MODEL") .. '",' .. stream ..
  '"messages":[{"role":"system","content":"You are terse."},{"role":"user","content":"' .. text ..
  '"}],"temperature":0.2,"max_tokens":256}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY")

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %.1f %.1f %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
