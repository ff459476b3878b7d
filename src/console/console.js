// The console: shows the section that the address names, and reads on once a second while somebody looks.

import { key, setKey, setSpace } from './api.js';
import { make } from './elements.js';
import { overview } from './overview.js';
import { account, accounts, customer, hold, limits, lock, locks, policy, product, reservation, stock } from './records.js';
import { scripts, servers } from './servers.js';

const INTERVAL_MS = 1000;

// By the first part of the address: its title where it stands among the sections, the view of all, and of one id.
const SECTIONS = {
  overview: { title: 'Overview', all: overview, one: overview },
  accounts: { title: 'Accounts', all: accounts, one: account },
  holds: { of: 'accounts', one: hold },
  stock: { title: 'Stock', all: stock, one: product },
  customers: { of: 'stock', one: customer },
  reservations: { of: 'stock', one: reservation },
  locks: { title: 'Locks', all: locks, one: lock },
  limits: { title: 'Limits', all: limits, one: policy },
  scripts: { title: 'Scripts', all: scripts },
  servers: { title: 'Server', all: servers },
};

const content = document.getElementById('content');
const connection = document.getElementById('connection');
const spaceInput = document.getElementById('space');
const keyInput = document.getElementById('key');
// Enter in a form of one field would load the page anew.
document.getElementById('login').addEventListener('submit', (event) => event.preventDefault());
let view = null;
let turn = 0;
let timer = null; // of the next step; null while one runs

function say(sentence, isBad) {
  // Said again only when it changes, so that a screen reader is quiet.
  if (connection.textContent !== sentence) connection.textContent = sentence;
  connection.classList.toggle('bad', isBad);
}

/** Replaces the content, and leaves alone a form in which somebody types and what has the focus. */
function show() {
  const focused = document.activeElement;
  if (content.contains(focused) && focused.matches('input')) return;
  const path = content.contains(focused) && focused !== content ? pathTo(focused) : null;
  const scrolled = [...content.querySelectorAll('.scroll')].map((region) => region.scrollLeft);
  content.replaceChildren(...[view.render()].flat(Infinity).filter(Boolean));
  [...content.querySelectorAll('.scroll')].forEach((region, index) => { region.scrollLeft = scrolled[index] ?? 0; });
  if (path) path.reduce((element, index) => element?.children[index], content)?.focus({ preventScroll: true });
}

function pathTo(element) {
  const path = [];
  for (let one = element; one !== content; one = one.parentElement) path.unshift([...one.parentElement.children].indexOf(one));
  return path;
}

async function step() {
  const shown = view;
  timer = null;
  if (!document.hidden) {
    try {
      await shown.refresh(turn);
      turn += 1;
      if (shown === view) {
        say('Up to date', false);
        show();
      }
    } catch (failure) {
      if (shown === view) {
        say(failure.message, true);
        if (failure.status === 404) content.replaceChildren(make('p', { class: 'empty' }, failure.message));
        if (failure.status === 401) content.replaceChildren(make('p', { class: 'empty' }, 'This service asks for a key: put one in above. It stays in this tab.'));
      }
    }
  }
  if (shown === view) timer = setTimeout(step, INTERVAL_MS);
}

function open() {
  const [, section = 'overview', id] = location.hash.split('/').map(decodeURIComponent);
  const entry = SECTIONS[section] ?? SECTIONS.overview;
  const makeView = id ? entry.one : entry.all;
  clearTimeout(timer);
  turn = 0;
  view = (makeView ?? overview)(id || undefined);
  for (const item of document.querySelectorAll('#sections a')) {
    const isCurrent = item.getAttribute('href') === `#/${entry.of ?? section}`;
    if (isCurrent) item.setAttribute('aria-current', 'page');
    else item.removeAttribute('aria-current');
  }
  document.title = `${id ?? entry.title ?? 'Overview'} – Lockstep console`;
  content.replaceChildren(make('p', {}, 'Reading …'));
  step();
}

document.getElementById('sections').append(...Object.entries(SECTIONS).filter(([, entry]) => entry.title)
  .map(([name, entry]) => make('a', { href: `#/${name}` }, entry.title)));
const given = new URLSearchParams(location.search).get('space');
spaceInput.value = given ?? 'main';
setSpace(spaceInput.value);
spaceInput.addEventListener('change', () => {
  spaceInput.value = spaceInput.value.trim() || 'main';
  setSpace(spaceInput.value);
  history.replaceState(null, '', `?space=${encodeURIComponent(spaceInput.value)}${location.hash}`);
  open();
});
keyInput.value = key();
keyInput.addEventListener('change', () => {
  keyInput.value = keyInput.value.trim();
  setKey(keyInput.value);
  open();
});
window.addEventListener('hashchange', () => { open(); content.focus({ preventScroll: true }); });
document.addEventListener('visibilitychange', () => { if (!document.hidden && timer !== null) { clearTimeout(timer); step(); } });
open();
