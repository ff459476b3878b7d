// The first section: what the service does at this moment, as of all its processes.

import { get } from './api.js';
import { bars, lines } from './charts.js';
import { cards, clock, empty, make, ms, number, percent, stretch, table } from './elements.js';

const FIRST_CALL = `curl -s ${new URL('../accounts', document.baseURI)} -H 'Content-Type: application/json' `
  + `-d '{"account_id":"alice","initial_balance":"100.00"}'`;
const MINUTE_MS = 60_000;
const LIVE_POINTS = 90;

const SERIES = [
  { key: 'succeeded', name: 'succeeded', color: 'var(--good)' },
  { key: 'refused', name: 'refused', color: 'var(--refused)' },
  { key: 'failed', name: 'failed', color: 'var(--failed)' },
];
const PERCENTILES = [
  { key: 'p50_ms', name: 'p50', color: 'var(--good)' },
  { key: 'p95_ms', name: 'p95', color: 'var(--refused)' },
  { key: 'p99_ms', name: 'p99', color: 'var(--failed)' },
];

const refusedOf = (figures) => Object.values(figures.refused).reduce((sum, count) => sum + count, 0);

/** The last hour by the minute, with minutes that had no call. */
function byMinute(statistics) {
  const known = new Map(statistics.groups.map((group) => [Date.parse(group.start), group]));
  const last = Math.floor(Date.parse(statistics.to) / MINUTE_MS) * MINUTE_MS;
  return Array.from({ length: 60 }, (_, index) => {
    const start = last - (59 - index) * MINUTE_MS;
    const group = known.get(start);
    return {
      start, label: clock(start).slice(0, 5), count: group?.count ?? 0, succeeded: group?.succeeded ?? 0,
      refused: group ? refusedOf(group) : 0, failed: group?.failed ?? 0,
      p50_ms: group?.p50_ms ?? null, p95_ms: group?.p95_ms ?? null, p99_ms: group?.p99_ms ?? null,
    };
  });
}

/**
 * The overview, of one operation where `operation` is given. Each refresh makes one call, in turns: the minutes of
 * the hour, the operations, the newest failures, the server, and the cache of the space in the process that answers.
 */
export function overview(operation) {
  const state = { minutes: null, operations: null, failures: [], health: null, cache: null, live: [], before: null };
  const reads = [readMinutes, readOperations, readMinutes, readFailures, readMinutes, readHealth, readMinutes, readCache];

  async function readMinutes() {
    const statistics = await get('monitoring/transactions', { hours: 1, group_by: 'minute', operation });
    state.minutes = { ...statistics, points: byMinute(statistics) };
    const at = Date.parse(statistics.to);
    const counts = new Map(state.minutes.points.map(({ start, count }) => [start, count]));
    if (state.before && at > state.before.at) {
      // Minutes that have left the hour count no more; those that both answers have can only grow.
      const added = [...counts].reduce((sum, [start, count]) => sum + count - (state.before.counts.get(start) ?? 0), 0);
      state.live.push({ at, rate: Math.max(0, added / ((at - state.before.at) / 1000)) });
      state.live.splice(0, state.live.length - LIVE_POINTS);
    }
    state.before = { at, counts };
  }
  async function readOperations() {
    state.operations = await get('monitoring/transactions', { hours: 1, group_by: 'operation' });
  }
  async function readFailures() {
    state.failures = (await get('monitoring/failures', { limit: 15, operation })).failures;
  }
  async function readCache() {
    state.cache = await get('cache/stats');
  }
  async function readHealth() {
    state.health = await get('health');
  }

  const operationColumns = [
    { title: 'Operation', of: (row) => make('a', { href: `#/overview/${encodeURIComponent(row.operation)}` }, row.operation) },
    { title: 'Calls', number: true, of: (row) => number(row.count) },
    { title: 'Succeeded', number: true, of: (row) => percent(row.success_rate) },
    { title: 'Refused', number: true, of: (row) => number(refusedOf(row)) },
    { title: 'Failed', number: true, of: (row) => number(row.failed) },
    { title: 'p50', number: true, of: (row) => ms(row.p50_ms) },
    { title: 'p99', number: true, of: (row) => ms(row.p99_ms) },
    { title: 'Refusals', of: (row) => Object.entries(row.refused).sort((a, b) => b[1] - a[1]).slice(0, 3)
      .map(([code, count]) => `${code} ${number(count)}`).join(', ') },
  ];
  const failureColumns = [
    { title: 'Time', of: (row) => clock(row.at) },
    { title: 'Operation', of: (row) => row.operation },
    { title: 'Code', kind: (row) => (row.status >= 500 ? 'failed' : 'refused'), of: (row) => row.code },
    { title: 'Outcome', of: (row) => row.outcome },
    { title: 'About', of: (row) => Object.entries(row.ids).map(([name, id]) => `${name} ${id}`).join(', ') },
    { title: 'Time taken', number: true, of: (row) => ms(row.duration_ms) },
    { title: 'Request', of: (row) => row.request_id },
  ];

  function charts() {
    const { points } = state.minutes;
    const ends = [points[0].label, points.at(-1).label];
    const rates = state.live.map(({ rate }) => ({ rate: Math.round(rate * 10) / 10 }));
    const liveEnds = state.live.length ? [clock(state.live[0].at), clock(state.live.at(-1).at)] : ['', ''];
    return make('div', { class: 'charts' },
      lines('Calls a second, since this page is open', '', [{ key: 'rate', name: 'calls', color: 'var(--accent)' }], rates, liveEnds),
      bars('Calls a minute', SERIES, points, ends),
      lines('Duration by minute', ' ms', PERCENTILES, points, ends));
  }

  function render() {
    const { minutes, operations, failures, health, cache } = state;
    const title = operation ? `Calls of ${operation}, last hour` : 'Calls, last hour';
    if (!minutes) return make('p', {}, 'Reading …');
    if (minutes.total.count === 0) {
      return [make('h2', {}, title), empty('There was no call within the last hour. This one opens an account:', FIRST_CALL)];
    }
    const { total } = minutes;
    return [
      make('h2', {}, title),
      operation && make('p', {}, make('a', { href: '#/overview' }, 'All operations')),
      cards([
        ['Calls a second', state.live.length ? number(Math.round(state.live.at(-1).rate)) : null],
        ['Calls', number(total.count)],
        ['Succeeded', percent(total.success_rate), 'good'],
        ['Refused', number(refusedOf(total)), refusedOf(total) ? 'refused' : ''],
        ['Failed', number(total.failed), total.failed ? 'failed' : ''],
        ['p99', ms(total.p99_ms)],
        cache && cache.hit_rate !== null && ['Cache hits', percent(cache.hit_rate)],
        health && ['Server', `${health.server.name} ${health.server.version}`],
        health && ['Ping', ms(health.ping_ms)],
        health && ['Up', stretch(health.server.uptime_s * 1000)],
      ].filter(Boolean)),
      health?.warnings.map((warning) => make('p', { class: 'failed', role: 'alert' }, warning)),
      charts(),
      operations && !operation && make('div', { class: 'part' }, table('Operations of the last hour', operationColumns, operations.groups)),
      make('div', { class: 'part' },
        failures.length ? table('Newest failures and refusals', failureColumns, failures) : empty('Nothing has failed or was refused.')),
    ];
  }

  return { refresh: (turn) => reads[turn % reads.length](), render };
}
