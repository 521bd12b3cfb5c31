// The ring: its peers on a circle, each with the shares of its time.

import { svg } from './chart.js';

export const phases = ['computing', 'reducing', 'applying', 'waiting'];
const name = id => id.split('-')[0];
let twice = new Set();
// short is the name of a peer, or all of its ID where two have the same name.
export const short = id => twice.has(name(id)) ? id : name(id);

// know takes the IDs of those that are spoken of.
export function know(ids) {
  const once = new Set();
  twice = new Set();
  for (const id of new Set(ids)) (once.has(name(id)) ? twice : once).add(name(id));
}

const middle = 320;
let radius = 222; // more where nodes are small
let scale = 1;    // of what is between nodes: less where they are close to each other
const spot = (angle, r = radius) => [middle + r * Math.sin(angle), middle - r * Math.cos(angle)];

// draw shows nodes ({id, state, rank, shares, host}) and what stands in the middle.
export function drawRing(root, nodes, center, blocking, flows) {
  const n = nodes.length;
  radius = n > 8 ? 250 : 222;
  const size = Math.min(46, 0.64 * Math.PI * radius / Math.max(n, 1));
  scale = Math.min(1, size / 32);
  const places = new Map(nodes.map((node, i) => [node.id, n === 1 ? 0 : 2 * Math.PI * i / n]));
  root.replaceChildren();
  edges(root, nodes.filter(node => node.rank >= 0), places, size, flows);
  waits(root, nodes, places, size, blocking);
  for (const node of nodes) drawNode(root, node, places.get(node.id), size, blocking.includes(node.id), n);
  write(root, center);
}

function edges(root, live, places, size, flows) {
  if (live.length < 2) return;
  live.forEach((node, i) => {
    const next = live[(i + 1) % live.length];
    const gap = (size + 7 * scale) / radius, tip = 11 * scale / radius;
    const from = places.get(node.id) + gap;
    let to = places.get(next.id) - gap;
    while (to < from) to += 2 * Math.PI;
    if (to - from < tip) return;
    const torn = node.state === 'silent' || next.state === 'silent' ? ' torn' : '';
    const [d, x2, y2, turn] = skips(places, node, next) ? inside(places, node, next, size) : along(from, to - tip);
    svg(root, 'path', { class: 'edge' + torn, d });
    if (flows && !torn && (to - from) * radius > 70) moving(svg(root, 'path', { class: 'flow', d }));
    svg(root, 'path', { class: 'tip' + torn, d: 'M0 -6L13 0L0 6Z', transform: `translate(${x2} ${y2}) rotate(${turn}) scale(${scale})` });
  });
}

// moving lets what is drawn anew go on moving where what was there before it was.
function moving(e) {
  e.style.animationDelay = `-${performance.now() % 2400}ms`; // of which all of them take a part
}

// along follows the circle.
function along(from, to) {
  const [x1, y1] = spot(from), [x2, y2] = spot(to);
  return [`M${x1} ${y1}A${radius} ${radius} 0 ${to - from > Math.PI ? 1 : 0} 1 ${x2} ${y2}`, x2, y2, to * 180 / Math.PI + 2];
}

// skips reports whether somebody stands between the two who is gone.
function skips(places, node, next) {
  const step = 2 * Math.PI / places.size;
  let gap = places.get(next.id) - places.get(node.id);
  if (gap <= 0) gap += 2 * Math.PI;
  return places.size > 2 && gap > 1.5 * step;
}

// inside passes by those who are gone.
function inside(places, node, next, size) {
  const a = places.get(node.id);
  let b = places.get(next.id);
  if (b <= a) b += 2 * Math.PI;
  const under = radius - size - 32 * scale; // where the curve is halfway
  const bend = spot((a + b) / 2, Math.max(0, 2 * under - radius * Math.cos((b - a) / 2)));
  const toward = (from, gap) => {
    const dx = bend[0] - from[0], dy = bend[1] - from[1], long = Math.hypot(dx, dy) || 1;
    return [from[0] + dx / long * gap, from[1] + dy / long * gap];
  };
  const [x1, y1] = toward(spot(a), size + 7 * scale), [x2, y2] = toward(spot(b), size + 18 * scale);
  return [`M${x1} ${y1}Q${bend[0]} ${bend[1]} ${x2} ${y2}`, x2, y2, Math.atan2(y2 - bend[1], x2 - bend[0]) * 180 / Math.PI];
}

// waits leads from those who wait to those who keep them waiting.
function waits(root, nodes, places, size, blocking) {
  if (nodes.length > 32) return;
  for (const to of blocking) {
    const [x2, y2] = spot(places.get(to));
    for (const node of nodes) {
      if (node.rank < 0 || blocking.includes(node.id)) continue;
      const [x1, y1] = spot(places.get(node.id));
      svg(root, 'line', { class: 'wait', x1, y1, x2, y2 });
    }
  }
}

const words = { silent: 'no answer', lost: 'lost', left: 'has left', ended: 'done' };

function drawNode(root, node, angle, size, blocks, n) {
  const [x, y] = spot(angle);
  const g = svg(root, 'g', { class: `node ${node.state}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, 'data-id': node.id, 'data-state': node.state });
  svg(g, 'title', {}, title(node));
  if (blocks) moving(svg(g, 'circle', { class: 'halo', r: size + 5 }));
  svg(g, 'circle', { class: 'face', r: size });
  if (node.state === 'live') shares(g, node.shares, size);
  if (size > 13) {
    const sub = size > 26 ? words[node.state] || `rank ${node.rank}` : '';
    const text = short(node.id);
    svg(g, 'text', { class: 'name', y: sub ? -size * 0.16 : 0, 'font-size': Math.max(10, size * Math.min(0.4, 2.3 / text.length)) }, text);
    if (sub) svg(g, 'text', { class: 'sub', y: size * 0.3, 'font-size': Math.max(9.5, size * 0.25) }, sub);
  }
  if (node.host && n <= 16) {
    svg(g, 'text', { class: 'outer', x: Math.sin(angle) * (size + 18), y: -Math.cos(angle) * (size + 14), 'font-size': 12 }, node.host);
  }
}

function title(node) {
  const share = phases.filter(p => node.shares && node.shares[p] > 0.005).map(p => `${p} ${Math.round(100 * node.shares[p])} %`);
  return [node.id, words[node.state] || `rank ${node.rank}`, node.why, ...share].filter(s => s).join(', ');
}

// shares draws the parts of the time as a broken circle.
function shares(g, parts, size) {
  const width = Math.max(3, size * 0.16), r = size - width / 2 - 1, round = 2 * Math.PI * r;
  svg(g, 'circle', { class: 'share s-none', r, 'stroke-width': width });
  let at = 0;
  for (const [phase, part] of Object.entries(parts || {})) {
    if (part <= 0) continue;
    const known = phases.includes(phase) ? phase : 'other';
    svg(g, 'circle', {
      class: `share s-${known}`, r, 'stroke-width': width, transform: `rotate(${-90 + 360 * at})`,
      'stroke-dasharray': `${(part * round).toFixed(2)} ${round.toFixed(2)}`,
    });
    at += part;
  }
}

function write(root, center) {
  const lines = center.filter(l => l[1]);
  let y = middle - (lines.length - 1) * 15;
  for (const [cls, text] of lines) {
    svg(root, 'text', { class: cls, x: middle, y }, text);
    y += cls.includes('big') ? 34 : 27;
  }
}
