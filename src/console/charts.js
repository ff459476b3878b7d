// Charts as SVG. Each says in words what it shows, for those who do not see it.

import { draw, make } from './elements.js';

const WIDTH = 480;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 18;
const TOP = 6;

/** The least of 1, 2 and 5 times a power of ten that is not below a value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999);
}

function frame(most, unit, from, to) {
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const label = (value) => `${Number(value.toPrecision(2)).toLocaleString('en')}${unit}`;
  const lines = [0, most / 2, most].map((value) => [
    draw('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
    draw('text', { x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, label(value)),
  ]);
  const times = [
    draw('text', { x: LEFT, y: HEIGHT - 3 }, from),
    draw('text', { x: WIDTH, y: HEIGHT - 3, 'text-anchor': 'end' }, to),
  ];
  return { y, parts: [lines.flat(), times] };
}

const legend = (title, series) => make('figcaption', {}, make('span', {}, title), series.map(({ name, color }) => {
  const mark = make('i');
  mark.style.background = color;
  return make('span', {}, mark, name);
}));

const picture = (label, ...children) => draw('svg', {
  viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label,
}, ...children);

/** Bars of values that add up. A point has `label`, and a value for the key of each series. */
export function bars(title, series, points, [from, to]) {
  const total = (point) => series.reduce((sum, { key }) => sum + point[key], 0);
  const most = roundUp(Math.max(0, ...points.map(total)));
  const { y, parts } = frame(most, '', from, to);
  const step = (WIDTH - LEFT) / Math.max(points.length, 1);
  const columns = points.map((point, index) => {
    let below = 0;
    const blocks = series.filter(({ key }) => point[key] > 0).map(({ key, color }) => {
      const [lower, upper] = [below, below += point[key]];
      return draw('rect', {
        x: LEFT + index * step, width: Math.max(step - 1, 1), y: y(upper), height: y(lower) - y(upper), fill: color,
      });
    });
    const said = series.map(({ name, key }) => `${point[key]} ${name}`).join(', ');
    return draw('g', {}, draw('title', {}, `${point.label}: ${said}`), ...blocks);
  });
  const sum = points.reduce((all, point) => all + total(point), 0);
  return make('figure', {}, legend(title, series), picture(`${title}: ${sum} from ${from} to ${to}`, ...parts, columns));
}

/** Lines over time. A point has a value for the key of each series, or null where there is none. */
export function lines(title, unit, series, points, [from, to]) {
  const values = series.flatMap(({ key }) => points.map((point) => point[key] ?? 0));
  const most = roundUp(Math.max(0, ...values));
  const { y, parts } = frame(most, unit, from, to);
  const x = (index) => LEFT + ((WIDTH - LEFT) * index) / Math.max(points.length - 1, 1);
  const path = ({ key, color }) => {
    let pen = 'M';
    const steps = points.map((point, index) => {
      if (point[key] === null || point[key] === undefined) {
        pen = 'M';
        return '';
      }
      const step = `${pen}${x(index).toFixed(1)} ${y(point[key]).toFixed(1)}`;
      pen = 'L';
      return isAlone(points, key, index) ? `${step}m-3 0h3` : step;
    });
    return draw('path', { d: steps.join(''), fill: 'none', stroke: color, 'stroke-width': 2, 'vector-effect': 'non-scaling-stroke' });
  };
  const last = points.at(-1) ?? {};
  const said = series.map(({ name, key }) => `${name} ${last[key] ?? 'none'}`).join(', ');
  return make('figure', {}, legend(title, series), picture(`${title}: last ${said}`, ...parts, series.map(path)));
}

const isAlone = (points, key, index) => (points[index - 1]?.[key] ?? null) === null && (points[index + 1]?.[key] ?? null) === null;
