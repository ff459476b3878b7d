-- Asks Lockstep whether a request may pass, and leaves its answer in variables for haproxy-limit.cfg.

local URL = 'http://127.0.0.1:8080/ratelimit/authorize?policy=api'

local function first(headers, name)
  return headers and headers[name] and headers[name][0] or ''
end

core.register_action('limit', { 'http-req' }, function(txn)
  local answer = core.httpclient():get {
    url = URL,
    headers = { ['lockstep-space'] = { 'main' }, ['lockstep-key'] = { txn.sf:src() } },
    -- Longer than a policy with on_store_error waits for the store, which is a second.
    timeout = 2000,
  }
  txn:set_var('txn.limit_status', answer and answer.status or 0)
  txn:set_var('txn.limit_wait', first(answer and answer.headers, 'retry-after'))
  txn:set_var('txn.limit_state', first(answer and answer.headers, 'ratelimit'))
end)
