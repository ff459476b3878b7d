// The sections about the way to the data: scripts, connections and servers.

import { get } from './api.js';
import { bytes, cards, make, ms, number, stretch, table } from './elements.js';

/** Scripts as the process that answers has run them. */
export function scripts() {
  let answer = null;
  return {
    refresh: async () => { answer = await get('monitoring/scripts'); },
    render: () => (answer
      ? [make('h2', {}, 'Scripts'), make('p', { class: 'note' }, `As run by the process ${answer.process}.`),
        table('Scripts', [
          { title: 'Script', of: (row) => row.name },
          { title: 'Calls', number: true, of: (row) => number(row.calls) },
          { title: 'Mean', number: true, of: (row) => ms(row.mean_ms) },
          { title: 'p50', number: true, of: (row) => ms(row.p50_ms) },
          { title: 'p95', number: true, of: (row) => ms(row.p95_ms) },
          { title: 'p99', number: true, of: (row) => ms(row.p99_ms) },
          { title: 'Reloads', number: true, of: (row) => number(row.reloads) },
          { title: 'Loaded', of: (row) => (row.loaded ? 'yes' : 'no') },
        ], answer.scripts)]
      : make('p', {}, 'Reading …')),
  };
}

const shardColumns = [
  { title: 'Address', of: (row) => row.address },
  { title: 'Slots', number: true, of: (row) => number(row.slots) },
  { title: 'State', kind: (row) => (row.status === 'ok' ? 'good' : 'failed'), of: (row) => row.status },
  { title: 'Reason', of: (row) => [row.reason, ...row.warnings].filter(Boolean).join(' ') },
  { title: 'Role', of: (row) => row.role },
  { title: 'Version', of: (row) => row.version },
  { title: 'Ping', number: true, of: (row) => ms(row.ping_ms) },
  { title: 'Memory', number: true, of: (row) => bytes(row.used_bytes) },
  { title: 'Replicas', number: true, of: (row) => number(row.replicas.length) },
];

/** The server, or the masters of the cluster, and the connections of the process that answers. */
export function servers() {
  const state = {};
  const reads = [['health', 'health'], ['connections', 'monitoring/connections']];
  return {
    refresh: async (turn) => {
      const [name, path] = reads[turn % reads.length];
      state[name] = await get(path);
    },
    render: () => {
      const { health, connections } = state;
      if (!health) return make('p', {}, 'Reading …');
      const { server, memory, persistence } = health;
      return [
        make('h2', {}, 'Server'),
        health.warnings.map((warning) => make('p', { class: 'failed', role: 'alert' }, warning)),
        cards([
          ['Server', `${server.name} ${server.version}`], ['Mode', server.mode], ['Role', server.role], ['Up', stretch(server.uptime_s * 1000)],
          ['Ping', ms(health.ping_ms)], ['Memory', bytes(memory.used_bytes)],
          ['Of its limit', memory.limit_bytes ? `${memory.used_percent.toFixed(1)} %` : 'no limit'],
          ['Eviction', memory.eviction_policy], ['Append-only file', persistence.appendonly ? 'on' : 'off'],
          ['Clients', number(health.connected_clients)], ['Replicas', number(health.replicas.length)],
          ['Clock difference', ms(health.clock_difference_ms)],
        ]),
        health.shards.length > 0 && [
          make('p', { class: 'note' }, 'The figures above are those of the first master that answers. A master that does not answer holds up '
            + 'the calls of its own spaces and no others.'),
          table('Masters of the cluster', shardColumns, health.shards),
        ],
        connections && [
          make('p', { class: 'note' }, `Connections of the process ${connections.process}, up for ${stretch(connections.uptime_ms)}.`),
          table('Connections', [
            ...(health.shards.length > 0 ? [{ title: 'Master', of: (row) => row.shard }] : []),
            { title: 'Name', of: (row) => row.name },
            { title: 'In use', number: true, of: (row) => number(row.in_use) },
            { title: 'Idle', number: true, of: (row) => number(row.idle) },
            { title: 'Waiting', number: true, of: (row) => `${number(row.waiting)} of ${number(row.waiting_limit)}` },
            { title: 'Reconnects', number: true, of: (row) => number(row.reconnects) },
            { title: 'Commands', number: true, of: (row) => number(row.commands) },
            { title: 'A second', number: true, of: (row) => number(row.commands_per_second) },
            { title: 'Errors', number: true, of: (row) => number(row.errors) },
            { title: 'Mean', number: true, of: (row) => ms(row.mean_ms) },
          ], connections.groups),
        ],
      ];
    },
  };
}
