// The sections that show what is stored: accounts, stock, locks, limits. Each is a list, and a page for one id.

import { get } from './api.js';
import { cards, empty, link, lookup, make, moment, number, stretch, table } from './elements.js';

const PAGE = 100;

/** A view that makes the calls of `reads` in turns, each into a member of the state that `draw` shows. */
function view(reads, draw) {
  const state = {};
  const names = Object.keys(reads);
  return {
    refresh: async (turn) => {
      const name = names[turn % names.length];
      state[name] = await reads[name](state);
    },
    render: () => (state[names[0]] ? draw(state) : make('p', {}, 'Reading …')),
  };
}

const more = (list) => list.next_cursor && make('p', { class: 'note' }, `The first ${PAGE} are shown. Look up others by their id.`);
const signed = (change) => (change > 0 ? `+${number(change)}` : number(change));
const metadata = (value) => Object.entries(value).map(([name, text]) => `${name}: ${text}`).join(', ');

export const accounts = () => view(
  { list: () => get('accounts', { limit: PAGE }) },
  ({ list }) => [
    make('h2', {}, 'Accounts'),
    lookup('Account', 'accounts', 'alice'),
    lookup('Hold', 'holds', 'hold_…'),
    list.accounts.length
      ? [table('Accounts', [
        { title: 'Account', of: (row) => link('accounts', row.account_id) },
        { title: 'Balance', number: true, of: (row) => row.balance },
        { title: 'Available', number: true, of: (row) => row.available },
        { title: 'Held', number: true, of: (row) => row.held },
        { title: 'Currency', of: (row) => row.currency },
        { title: 'Status', of: (row) => (row.frozen ? `${row.status}, frozen: ${row.frozen}` : row.status) },
      ], list.accounts), more(list)]
      : empty('This space has no accounts. POST /accounts opens one.'),
  ],
);

export const account = (id) => view(
  {
    account: () => get(`accounts/${encodeURIComponent(id)}`),
    history: () => get(`accounts/${encodeURIComponent(id)}/transactions`, { limit: 50 }),
  },
  ({ account: one, history }) => [
    make('h2', {}, `Account ${id}`),
    cards([
      ['Balance', `${one.balance} ${one.currency}`], ['Available', one.available], ['Held', one.held],
      ['Overdraft', one.overdraft_limit], ['Maximum', one.max_balance], ['Status', one.frozen ? `${one.status}, frozen: ${one.frozen}` : one.status],
      ['Version', one.version], ['Opened', moment(one.created_at)],
    ]),
    Object.keys(one.metadata).length > 0 && make('p', {}, metadata(one.metadata)),
    history && (history.transactions.length
      ? table('Newest transactions', [
        { title: 'Time', of: (row) => moment(row.created_at) },
        { title: 'Kind', of: (row) => row.kind },
        { title: 'With', of: (row) => (row.counterparty ? link('accounts', row.counterparty) : null) },
        { title: 'Amount', number: true, of: (row) => (row.direction === 'debit' ? `−${row.amount}` : row.amount) },
        { title: 'Balance after', number: true, of: (row) => row.balance_after },
        { title: 'Transaction', of: (row) => row.transaction_id },
        { title: 'Description', of: (row) => row.description ?? '' },
      ], history.transactions)
      : empty('No money has moved yet.')),
  ],
);

export const hold = (id) => view(
  { hold: () => get(`accounts/holds/${encodeURIComponent(id)}`) },
  ({ hold: one }) => [
    make('h2', {}, `Hold ${id}`),
    cards([
      ['Status', one.status], ['Amount', `${one.amount} ${one.currency}`], ['Remaining', one.remaining], ['Captured', one.captured],
      ['Released', one.released], ['Expired', one.expired],
      ['Ends in', one.status === 'open' ? stretch(Date.parse(one.expires_at) - Date.now()) : null],
    ]),
    make('p', {}, 'From ', link('accounts', one.from_account), one.to_account && [' to ', link('accounts', one.to_account)]),
  ],
);

export const stock = () => view(
  { list: () => get('inventory/products', { limit: PAGE }) },
  ({ list }) => [
    make('h2', {}, 'Stock'),
    lookup('Product', 'stock', 'espresso-cup'),
    lookup('Reservations of a customer', 'customers', 'carol'),
    list.products.length
      ? [table('Products', [
        { title: 'Product', of: (row) => link('stock', row.product_id) },
        { title: 'Name', of: (row) => row.name },
        { title: 'Available', number: true, of: (row) => number(row.available) },
        { title: 'Reserved', number: true, of: (row) => number(row.reserved) },
        { title: 'On hand', number: true, of: (row) => number(row.on_hand) },
        { title: 'Sold', number: true, of: (row) => number(row.sold) },
        { title: 'Low', kind: () => 'refused', of: (row) => (row.low_stock && row.available <= row.low_stock ? 'low' : '') },
      ], list.products), more(list)]
      : empty('This space has no products. POST /inventory/products adds one.'),
  ],
);

export const product = (id) => view(
  {
    product: () => get(`inventory/products/${encodeURIComponent(id)}`),
    movements: () => get(`inventory/products/${encodeURIComponent(id)}/movements`, { limit: 50 }),
  },
  ({ product: one, movements }) => [
    make('h2', {}, `Product ${id}: ${one.name}`),
    cards([
      ['Available', number(one.available)], ['Reserved', number(one.reserved)], ['On hand', number(one.on_hand)], ['Sold', number(one.sold)],
      ['Price', one.price && `${one.price} ${one.currency}`], ['Low stock at', number(one.low_stock)],
    ]),
    movements && table('Newest movements', [
      { title: 'Time', of: (row) => moment(row.created_at) },
      { title: 'Reason', of: (row) => row.reason },
      { title: 'On hand', number: true, of: (row) => `${signed(row.on_hand_change)} to ${number(row.on_hand)}` },
      { title: 'Reserved', number: true, of: (row) => `${signed(row.reserved_change)} to ${number(row.reserved)}` },
      { title: 'By', of: (row) => row.actor },
      { title: 'Reference', of: (row) => (row.reference?.startsWith('res_') ? link('reservations', row.reference) : row.reference) },
    ], movements.movements),
  ],
);

const reservationColumns = [
  { title: 'Reservation', of: (row) => link('reservations', row.reservation_id) },
  { title: 'Status', of: (row) => row.status },
  { title: 'Lines', of: (row) => row.lines.map((line) => `${line.quantity} × ${line.product_id}`).join(', ') },
  { title: 'Ends in', number: true, of: (row) => (row.status === 'held' ? stretch(Date.parse(row.expires_at) - Date.now()) : '') },
  { title: 'Made', of: (row) => moment(row.created_at) },
];

export const customer = (id) => view(
  { list: () => get(`inventory/customers/${encodeURIComponent(id)}/reservations`, { limit: PAGE }) },
  ({ list }) => [
    make('h2', {}, `Reservations of ${id}`),
    list.reservations.length ? table('Reservations, the newest first', reservationColumns, list.reservations) : empty('There is none.'),
  ],
);

export const reservation = (id) => view(
  { reservation: () => get(`inventory/reservations/${encodeURIComponent(id)}`) },
  ({ reservation: one }) => [
    make('h2', {}, `Reservation ${id}`),
    cards([
      ['Status', one.status], ['Ends in', one.status === 'held' ? stretch(Date.parse(one.expires_at) - Date.now()) : null],
      ['Extensions', one.extensions],
    ]),
    make('p', {}, 'Of ', link('customers', one.customer_id)),
    table('Lines', [
      { title: 'Product', of: (row) => link('stock', row.product_id) },
      { title: 'Quantity', number: true, of: (row) => number(row.quantity) },
      { title: 'Held', number: true, of: (row) => number(row.held) },
      { title: 'Confirmed', number: true, of: (row) => number(row.confirmed) },
      { title: 'Released', number: true, of: (row) => number(row.released) },
    ], one.lines),
  ],
);

const holderColumns = [
  { title: 'Owner', of: (row) => row.owner },
  { title: 'Mode', of: (row) => row.mode },
  { title: 'Fencing token', number: true, of: (row) => String(row.fencing_token) },
  { title: 'Ends in', number: true, of: (row) => stretch(row.expires_in_ms) },
  { title: 'Metadata', of: (row) => metadata(row.metadata) },
];

export const locks = () => view(
  { list: () => get('locks', { limit: PAGE }) },
  ({ list }) => [
    make('h2', {}, 'Locks'),
    lookup('Lock', 'locks', 'nightly-report'),
    list.locks.length
      ? [table('Locks that are held', [
        { title: 'Lock', of: (row) => link('locks', row.lock) },
        { title: 'Mode', of: (row) => (row.permits ? `${row.mode}, ${row.permits} permits` : row.mode) },
        { title: 'Holders', number: true, of: (row) => number(row.holder_count) },
        { title: 'Held by', of: (row) => row.holders.slice(0, 3).map((holder) => holder.owner).join(', ') },
        { title: 'First ends in', number: true, of: (row) => stretch(Math.min(...row.holders.map((holder) => holder.expires_in_ms))) },
      ], list.locks), more(list)]
      : empty('No lock of this space is held. POST /locks acquires one.'),
  ],
);

export const lock = (id) => view(
  { lock: () => get(`locks/${encodeURIComponent(id)}`) },
  ({ lock: one }) => [
    make('h2', {}, `Lock ${id}`),
    cards([
      ['State', one.held ? 'held' : 'free'], ['Mode', one.mode], ['Holders', number(one.holder_count)],
      ['Waiting', number(one.queue_length)], ['Last fencing token', one.last_fencing_token && String(one.last_fencing_token)],
    ]),
    one.holders.length > 0 && table('Holders', holderColumns, one.holders),
    make('h3', {}, 'Queue'),
    one.queue.length
      ? table('Waiting, in their order', [
        { title: 'Owner', of: (row) => row.owner },
        { title: 'Mode', of: (row) => row.mode },
        { title: 'Waits for', number: true, of: (row) => stretch(row.waiting_ms) },
      ], one.queue)
      : empty('Nobody waits.'),
  ],
);

const RULE_FIELDS = ['capacity', 'refill_tokens', 'refill_interval_ms', 'limit', 'window_ms', 'buckets', 'ttl_ms'];
const rule = (policy) => RULE_FIELDS.filter((name) => policy[name] !== undefined && policy[name] !== null)
  .map((name) => `${name} ${number(policy[name])}`).join(', ');

export const limits = () => view(
  { list: () => get('ratelimit/policies', { limit: PAGE }) },
  ({ list }) => [
    make('h2', {}, 'Limits'),
    list.policies.length
      ? [table('Policies', [
        { title: 'Policy', of: (row) => link('limits', row.policy) },
        { title: 'Algorithm', of: (row) => row.algorithm },
        { title: 'Rule', of: rule },
        { title: 'Shadow', of: (row) => (row.shadow ? 'only counts' : '') },
        { title: 'Version', number: true, of: (row) => number(row.version) },
        { title: 'Changed', of: (row) => moment(row.updated_at) },
      ], list.policies), more(list)]
      : empty('This space has no policies. PUT /ratelimit/policies/{policy} declares one.'),
  ],
);

/** A policy, and what a check of a key would be told; looking takes nothing. */
export function policy(id) {
  let key = '';
  const input = make('input', { name: 'key', value: '', placeholder: 'tenant-7', autocomplete: 'off', spellcheck: 'false' });
  const form = make('form', { onsubmit: (event) => { event.preventDefault(); key = input.value; } },
    make('label', {}, 'Key', input), make('button', {}, 'Look'));
  return view(
    {
      policy: () => get(`ratelimit/policies/${encodeURIComponent(id)}`),
      peek: () => (key ? get('ratelimit/peek', { policy: id, key }) : null),
    },
    ({ policy: one, peek }) => [
      make('h2', {}, `Policy ${id}`),
      cards([['Algorithm', one.algorithm], ['Rule', rule(one)], ['Shadow', one.shadow ? 'only counts' : 'no'], ['Version', number(one.version)]]),
      form,
      peek && cards([
        ['Key', peek.key], ['Next check', peek.allowed ? 'allowed' : 'denied', peek.allowed ? 'good' : 'refused'],
        ['Remaining', `${number(peek.remaining)} of ${number(peek.limit)}`], ['Wait', stretch(peek.retry_after_ms)],
        ['Whole again in', stretch(peek.reset_after_ms)],
      ]),
    ],
  );
}
