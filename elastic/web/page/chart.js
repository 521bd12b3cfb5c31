// A chart of one number over time. Text is set as text, never as markup.

const NS = 'http://www.w3.org/2000/svg';

export function svg(parent, name, attributes, text) {
  const e = document.createElementNS(NS, name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

export function html(parent, name, cls, text) {
  const e = document.createElement(name);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

// number writes x with three digits that matter.
export function number(x) {
  if (x === null || x === undefined || !isFinite(x)) return '–';
  const a = Math.abs(x);
  if (a >= 1e9) return (x / 1e9).toFixed(2) + ' G';
  if (a >= 1e6) return (x / 1e6).toFixed(2) + ' M';
  if (a >= 1000) return Math.round(x).toLocaleString('en');
  if (a >= 100) return x.toFixed(0);
  if (a >= 10) return String(+x.toFixed(1));
  if (a >= 0.001 || a === 0) return String(+x.toPrecision(3));
  return x.toExponential(1);
}

const nice = (span, count) => {
  const raw = span / count, unit = 10 ** Math.floor(Math.log10(raw));
  return unit * [1, 2, 2.5, 5, 10].find(m => m * unit >= raw * 0.999);
};

const ticks = [10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200]; // s

const ago = ms => {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s ago` : `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')} min ago`;
};

const left = 46, right = 8, top = 12, bottom = 20;
const shortest = 30e3; // ms that a chart shows at least

export class Chart {
  // zero says whether the scale begins at 0.
  constructor(parent, name, color, zero) {
    this.box = html(parent, 'section', `card chart c${color}`);
    this.box.dataset.name = name;
    const head = html(this.box, 'header');
    html(head, 'h2', '', name);
    this.when = html(head, 'span', 'when');
    this.value = html(head, 'span', 'value', '–');
    this.unit = html(head, 'span', 'unit');
    const plot = html(this.box, 'div', 'plot');
    this.svg = svg(plot, 'svg', { role: 'img', 'aria-label': `${name} over time` });
    this.zero = zero;
    this.points = [];
    this.changes = [];
    this.cursor = null;
    new ResizeObserver(() => this.draw()).observe(plot);
    plot.addEventListener('pointermove', e => {
      this.cursor = e.clientX - plot.getBoundingClientRect().left;
      this.draw();
    });
    plot.addEventListener('pointerleave', () => { this.cursor = null; this.draw(); });
  }

  // set takes points [ms, number or null], and changes [ms, whether it is bad].
  set(points, unit, changes, now) {
    this.unit.textContent = unit;
    this.points = points;
    this.changes = changes;
    this.now = now;
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.parentNode.getBoundingClientRect();
    const known = this.points.filter(p => p[1] !== null);
    this.svg.replaceChildren();
    const last = this.points.length > 0 ? this.points[this.points.length - 1] : null;
    this.value.textContent = last ? number(last[1]) : '–';
    this.when.textContent = '';
    if (width < 120 || known.length === 0) return;
    const t1 = Math.max(this.now, last[0]), t0 = Math.min(this.points[0][0], t1 - shortest);
    const [lo, hi, step] = this.range(known);
    const x = t => left + (t - t0) / (t1 - t0) * (width - left - right);
    const y = v => height - bottom - (v - lo) / (hi - lo) * (height - top - bottom);
    this.axes(x, y, t0, t1, lo, hi, step, width);
    for (const [t, bad] of this.changes) {
      if (t >= t0) svg(this.svg, 'line', { class: bad ? 'change bad' : 'change', x1: x(t), x2: x(t), y1: top - 6, y2: y(lo) });
    }
    this.lines(x, y, lo);
    svg(this.svg, 'circle', { class: 'last', r: 3, cx: x(known.at(-1)[0]), cy: y(known.at(-1)[1]) });
    this.point(x, y, known, lo);
  }

  range(known) {
    let lo = Infinity, hi = -Infinity;
    for (const [, v] of known) { lo = Math.min(lo, v); hi = Math.max(hi, v); }
    if (this.zero) lo = Math.min(lo, 0);
    if (hi - lo < Math.abs(hi) * 1e-6 || hi === lo) { hi = hi + Math.abs(hi) * 0.5 || 1; lo = this.zero ? lo : lo - Math.abs(lo) * 0.5; }
    const step = nice(hi - lo, 3);
    return [Math.floor(lo / step + 1e-9) * step, Math.ceil(hi / step - 1e-9) * step, step];
  }

  axes(x, y, t0, t1, lo, hi, step, width) {
    for (let i = 0; lo + i * step <= hi + step / 1e6; i++) {
      const v = lo + i * step;
      svg(this.svg, 'line', { class: i ? 'grid' : 'base', x1: left, x2: width - right, y1: y(v), y2: y(v) });
      svg(this.svg, 'text', { x: left - 7, y: y(v), 'text-anchor': 'end', 'dominant-baseline': 'central' }, number(Math.abs(v) < step / 1e6 ? 0 : v));
    }
    const every = ticks.find(s => (t1 - t0) / 1e3 / s <= 5) || 86400;
    for (let s = 0; t1 - s * 1e3 >= t0; s += every) {
      const label = s === 0 ? 'now' : s < 60 ? `−${s} s` : every < 3600 ? `−${+(s / 60).toFixed(1)} min` : `−${s / 3600} h`;
      const at = x(t1 - s * 1e3);
      if (at > left + 12) svg(this.svg, 'text', { x: at, y: y(lo) + 14, 'text-anchor': s === 0 ? 'end' : 'middle' }, label);
    }
  }

  lines(x, y, lo) {
    let line = '', area = '', begun = null, at = 0;
    const end = () => { if (begun !== null) area += `V${y(lo)}H${begun}Z`; begun = null; };
    for (const [t, v] of this.points) {
      if (v === null) { end(); continue; }
      at = x(t);
      line += `${begun === null ? 'M' : 'L'}${at.toFixed(1)} ${y(v).toFixed(1)}`;
      area += `${begun === null ? 'M' : 'L'}${at.toFixed(1)} ${y(v).toFixed(1)}`;
      if (begun === null) begun = at.toFixed(1);
    }
    end();
    svg(this.svg, 'path', { class: 'area', d: area });
    svg(this.svg, 'path', { class: 'line', d: line });
  }

  point(x, y, known, lo) {
    if (this.cursor === null) return;
    const near = known.reduce((a, b) => Math.abs(x(b[0]) - this.cursor) < Math.abs(x(a[0]) - this.cursor) ? b : a);
    svg(this.svg, 'line', { class: 'cursor', x1: x(near[0]), x2: x(near[0]), y1: top - 6, y2: y(lo) });
    svg(this.svg, 'circle', { class: 'mark', r: 4, cx: x(near[0]), cy: y(near[1]) });
    this.value.textContent = number(near[1]);
    this.when.textContent = ago(this.now - near[0]);
  }
}
