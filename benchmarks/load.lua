-- wrk's script: send the requests of one file, each once. All have the same length; at its end the file begins anew.
local file, size

function init(args)
  file, size = assert(io.open(args[1], 'rb')), tonumber(args[2])
end

function request()
  local text = file:read(size)
  if not text or #text < size then
    file:seek('set', 0)
    text = file:read(size)
  end
  return text
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"answered":%d,"refused":%d,"broken":%d,"took_us":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
