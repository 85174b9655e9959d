-- The server's clock, read once a call, and RFC 3339 text of it. Callers pass intervals, never times.
local function read_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local now_ms = read_clock()

-- Days since 1970 to a civil date, after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
local function rfc3339(ms)
  local floor, char = math.floor, string.char
  local function two(number) -- as digits: printf of seven numbers takes longer than all the rest
    return char(48 + floor(number / 10), 48 + number % 10)
  end
  local seconds = floor(ms / 1000)
  local days = floor(seconds / 86400)
  local rest = seconds - days * 86400
  local z = days + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local day = doy - floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return two(floor(year / 100)) .. two(year % 100) .. '-' .. two(month) .. '-' .. two(day) .. 'T' .. two(floor(rest / 3600)) .. ':'
    .. two(floor(rest / 60) % 60) .. ':' .. two(rest % 60) .. '.' .. char(48 + floor(ms % 1000 / 100)) .. two(ms % 100) .. 'Z'
end
