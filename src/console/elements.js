// Elements of the page. Texts of callers become text nodes, never markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
export const link = (section, id, text = id) => make('a', { href: `#/${section}/${encodeURIComponent(id)}` }, text);

/** Figures with their names, in boxes. */
export function cards(figures) {
  return make('dl', { class: 'cards' }, figures.map(([name, value, kind]) =>
    make('div', {}, make('dt', {}, name), make('dd', { class: kind }, value ?? '–'))));
}

/** A table. A column is its title, the content of a cell, and whether that is a number. */
export function table(caption, columns, rows) {
  const cell = (column, row) => {
    const content = column.of(row);
    return make('td', { class: column.number ? 'number' : column.kind?.(row) }, content ?? '–');
  };
  return make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    make('table', {},
      make('caption', {}, caption),
      make('thead', {}, make('tr', {}, columns.map((column) =>
        make('th', { scope: 'col', class: column.number && 'number' }, column.title)))),
      make('tbody', {}, rows.map((row) => make('tr', {}, columns.map((column) => cell(column, row)))))));
}

export const empty = (sentence, command) =>
  make('div', { class: 'empty' }, make('p', {}, sentence), command && make('pre', {}, make('code', {}, command)));

/** A form of one line that opens `#/section/<value>`. */
export function lookup(label, section, hint) {
  const input = make('input', { name: 'id', required: true, placeholder: hint, autocomplete: 'off', spellcheck: 'false' });
  const open = (event) => {
    event.preventDefault();
    location.hash = `#/${section}/${encodeURIComponent(input.value.trim())}`;
  };
  return make('form', { onsubmit: open }, make('label', {}, label, input), make('button', {}, 'Show'));
}

export const number = (value) => (value === null || value === undefined ? '–' : value.toLocaleString('en'));
export const ms = (value) => {
  if (value === null || value === undefined) return '–';
  return value < 10 ? `${value.toFixed(2)} ms` : `${Math.round(value).toLocaleString('en')} ms`;
};
export const percent = (share) => (share === null || share === undefined ? '–' : `${(share * 100).toFixed(share === 1 ? 0 : 1)} %`);
export const bytes = (value) => {
  if (value === null || value === undefined) return '–';
  const step = value > 0 ? Math.min(Math.floor(Math.log2(value) / 10), 4) : 0;
  return `${(value / 1024 ** step).toFixed(step ? 1 : 0)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][step]}`;
};
export const clock = (instant) => new Date(instant).toLocaleTimeString('en-GB');
export const moment = (instant) => (instant ? new Date(instant).toLocaleString('en-GB') : '–');

/** A stretch of milliseconds as people say it: `4 min 10 s`. */
export function stretch(value) {
  if (value === null || value === undefined) return '–';
  const seconds = Math.max(0, Math.round(value / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
