// What the server says, twice a second, and what becomes of it on the page.

import { Chart, html, svg, number } from './chart.js';
import { drawRing, know, phases, short } from './ring.js';

const $ = id => document.getElementById(id);
const windowTime = 3000;  // ms over which shares of time are taken
const silence = 3000;     // ms after which a server that says nothing is asked anew
const maxPoints = 600, maxEvents = 300;

const run = { events: [], points: [], past: new Map(), shot: null };

// --- the stream

let source = null, heard = 0, retry = 0;

function connect() {
  clearTimeout(retry);
  if (source) source.close();
  heard = performance.now();
  let first = true;
  source = new EventSource('/live');
  source.onmessage = e => {
    heard = performance.now();
    if (first) { run.events = []; run.points = []; first = false; }
    link('on', 'live');
    take(JSON.parse(e.data));
  };
  source.onerror = () => {
    lost();
    source.close();
    clearTimeout(retry);
    retry = setTimeout(connect, 500);
  };
}

setInterval(() => {
  if (performance.now() - heard > silence) {
    lost();
    connect();
  }
}, 1000);

const lost = () => run.shot && run.shot.ended ? link('', 'ended') : link('off', 'connection lost, trying again');

function link(state, text) {
  $('link').className = `pill ${state}`;
  if ($('link').textContent !== text) $('link').textContent = text;
}

function take(shot) {
  run.shot = shot;
  run.points = run.points.concat(shot.points || []).slice(-maxPoints);
  const fresh = shot.events || [];
  run.events = run.events.concat(fresh).slice(-maxEvents);
  know(run.events.flatMap(e => [...e.joined || [], ...e.lost || [], ...e.left || []]).concat(shot.nodes.map(n => n.id)));
  remember(shot);
  drawFacts(shot);
  drawAlarm(shot);
  drawMap(shot);
  drawCharts(shot);
  drawPeers(shot);
  if (fresh.length > 0 || run.events.length === 0) drawEvents();
}

// --- shares of time, and rates, over the last seconds

function remember(shot) {
  for (const node of shot.nodes) {
    if (!node.status) continue;
    const old = run.past.get(node.id) || [];
    if (old.length === 0 || old.at(-1).uptime < node.status.uptime) {
      old.push({ time: shot.time, uptime: node.status.uptime, epoch: node.status.epoch, spent: node.status.spent, sent: node.status.sent });
    }
    while (old.length > 2 && old.at(-1).time - old[0].time > windowTime) old.shift();
    run.past.set(node.id, old);
  }
  for (const id of run.past.keys()) {
    if (!shot.nodes.some(n => n.id === id)) run.past.delete(id);
  }
}

function shares(node) {
  if (!node.status) return {};
  const old = run.past.get(node.id), from = old.length > 1 ? old[0].spent : {};
  const parts = {};
  let all = 0;
  const names = phases.concat(Object.keys(node.status.spent).filter(p => !phases.includes(p)).sort());
  for (const p of names) {
    parts[p] = Math.max(0, (node.status.spent[p] || 0) - (from[p] || 0));
    all += parts[p];
  }
  for (const p of names) parts[p] = all > 0 ? parts[p] / all : 0;
  return parts;
}

function sending(node) {
  const old = run.past.get(node.id) || [];
  if (old.length < 2) return null;
  const b = old.at(-1), a = old.find(o => o.epoch === b.epoch); // each view counts anew
  return b.uptime > a.uptime ? (b.sent - a.sent) / (b.uptime - a.uptime) : null;
}

// --- the parts of the page

const duration = s => s < 1 ? `${Math.round(1000 * s)} ms` : s < 120 ? `${s.toFixed(1)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
const bytes = b => b >= 1e9 ? `${(b / 1e9).toFixed(1)} GB` : b >= 1e6 ? `${(b / 1e6).toFixed(1)} MB` : `${Math.round(b / 1e3)} kB`;
const withStatus = shot => shot.nodes.find(n => n.status && n.state === 'live') || shot.nodes.find(n => n.status);

function drawFacts(shot) {
  const node = withStatus(shot);
  const facts = node ? [
    ['view', String(shot.epoch)], ['peers', String(shot.nodes.filter(n => n.rank >= 0).length)],
    ['steps', node.status.steps.toLocaleString('en')], ['transport', node.status.transport], ['codec', node.status.codec],
    ['up', duration(Math.max(...shot.nodes.map(n => n.status ? n.status.uptime : 0)))],
  ] : [];
  $('facts').replaceChildren(...facts.map(([name, value]) => {
    const d = html(null, 'div');
    html(d, 'dt', '', name);
    html(d, 'dd', '', value);
    return d;
  }));
}

function drawAlarm(shot) {
  const silent = shot.nodes.filter(n => n.state === 'silent').map(n => `${short(n.id)}: ${n.why}`);
  let text = '';
  if (shot.why) text = `No peer answers. ${shot.why}`;
  else if (shot.ended) text = silent.length > 0 ? 'No peer answers any more: the run has ended, or cannot be reached.' : 'The run has ended.';
  else if (silent.length > 0) text = `No answer from ${silent.join('; ')}`;
  $('alarm').hidden = text === '';
  $('alarm').className = shot.ended && silent.length === 0 ? 'calm' : '';
  if ($('alarm').textContent !== text) $('alarm').textContent = text; // else it would be read out again
}

function drawMap(shot) {
  const hosts = new Set(shot.nodes.filter(n => n.status).map(n => n.status.host));
  const nodes = shot.nodes.map(n => ({
    id: n.id, state: n.state, rank: n.rank, why: n.why, shares: shares(n),
    host: n.status && hosts.size > 1 ? n.status.host : '',
  }));
  const last = run.points.at(-1), live = shot.nodes.filter(n => n.rank >= 0).length;
  const rate = last ? (last.samples > 0 ? [number(last.samples), 'samples/s'] : [number(last.steps), 'steps/s']) : ['', ''];
  const center = shot.ended ? [['big', 'ended'], ['mid', `view ${shot.epoch}`]]
    : shot.nodes.length === 0 ? [['mid', shot.why ? 'nobody answers' : 'looking for peers']]
    : [['big', rate[0]], ['mid', rate[1]], ['mid', `view ${shot.epoch} · ${plural(live, 'peer')}`],
      ['mid warn', shot.blocking.length ? 'all wait for ' + shot.blocking.map(short).slice(0, 3).join(', ') : '']];
  drawRing($('ring'), nodes, center, shot.blocking, last && last.steps > 0 && !shot.ended && shot.blocking.length === 0);
}

function drawLegend() {
  for (const [cls, text] of [['computing', 'computes'], ['reducing', 'reduces'], ['applying', 'applies'], ['waiting', 'waits'], ['lost', 'does not answer, or lost']]) {
    const li = html($('legend'), 'li');
    html(li, 'span', `dot bg-${cls}`);
    li.append(text);
  }
}

const charts = new Map();

function chart(name, zero) {
  if (!charts.has(name)) charts.set(name, new Chart($('charts'), name, charts.size % 4, zero));
  return charts.get(name);
}

function drawCharts(shot) {
  const changes = run.events.filter(e => e.kind === 'view' && e.was).map(e => [e.time, (e.lost || []).length > 0]);
  const drawn = new Set();
  const draw = (name, unit, zero, of) => drawn.add(name) && chart(name, zero).set(run.points.map(p => [p.time, of(p)]), unit, changes, shot.time);
  if (run.points.some(p => p.samples > 0)) draw('Throughput', 'samples/s', true, p => p.samples);
  else draw('Throughput', 'steps/s', true, p => p.steps);
  draw('Step time', 'ms', true, p => p.steps > 0 ? 1000 / p.steps : null);
  const names = new Set(run.points.flatMap(p => Object.keys(p.observed || {})));
  for (const name of [...names].sort()) {
    draw(name, '', false, p => p.observed && name in p.observed ? p.observed[name] : null);
  }
  for (const [name, old] of charts) { // of a run that was at this address before
    if (drawn.has(name)) continue;
    old.box.remove();
    charts.delete(name);
  }
}

function drawPeers(shot) {
  renew(document.querySelector('#peers tbody'), shot.nodes.map(node => {
    const st = node.status, tr = html(null, 'tr', node.state);
    html(tr, 'td', 'num', node.rank >= 0 ? String(node.rank) : '');
    const id = html(tr, 'td', 'id', short(node.id));
    if (node.id.includes('-')) html(id, 'span', '', node.id.slice(short(node.id).length));
    html(tr, 'td', '', st ? st.host : '');
    html(tr, 'td', 'addr', node.addr || '');
    html(tr, 'td', 'num', st ? st.steps.toLocaleString('en') : '');
    const bar = svg(html(tr, 'td', 'shares'), 'svg', { class: 'bar', viewBox: '0 0 100 12', preserveAspectRatio: 'none' });
    svg(bar, 'rect', { class: 'empty', width: 100, height: 12 });
    let at = 0;
    for (const [phase, part] of Object.entries(node.state === 'live' ? shares(node) : {})) {
      const known = phases.includes(phase) ? phase : 'other';
      const r = svg(bar, 'rect', { class: `p-${known}`, x: 100 * at, width: 100 * part, height: 12 });
      svg(r, 'title', {}, `${phase} ${Math.round(100 * part)} %`);
      at += part;
    }
    now(html(tr, 'td', 'now'), node, shot);
    const rate = node.state === 'live' ? sending(node) : null;
    html(tr, 'td', 'num', rate === null ? '' : `${bytes(rate)}/s`);
    html(tr, 'td', 'num', st ? bytes(st.memory) : '');
    return tr;
  }));
}

// renew changes the cells that differ, and leaves the others: what somebody selects
// to copy it, such as an address, stays selected.
function renew(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    const old = body.rows[i];
    if (!old) return body.append(row);
    if (old.className !== row.className) old.className = row.className;
    [...row.cells].forEach((cell, j) => {
      if (!old.cells[j].isEqualNode(cell)) old.cells[j].replaceWith(cell);
    });
  });
}

// Times below this are those of a run that goes on.
const worthTelling = 1; // s

function now(td, node, shot) {
  const words = { new: 'has not answered yet', silent: node.why || 'does not answer', lost: 'lost', left: 'has left', ended: 'has ended' };
  if (node.state !== 'live') {
    td.textContent = words[node.state];
    return;
  }
  const st = node.status, span = html(td, 'span', 'phase');
  html(span, 'span', `dot bg-${phases.includes(st.phase) ? st.phase : 'other'}`);
  span.append(st.in_phase >= worthTelling ? `${st.phase} for ${duration(st.in_phase)}` : st.phase);
  const slow = shot.nodes.flatMap(n => (n.status && n.state === 'live' && n.status.slow) || []).find(s => s.id === node.id);
  if (slow) html(td, 'span', 'slow', `${slow.factor.toFixed(1)} × as long: ${slow.cause}`);
  else if (shot.blocking.includes(node.id) && st.why) html(td, 'span', 'slow', st.why);
  td.title = td.textContent;
}

const listed = 8; // names in one line
const names = ids => ids.slice(0, listed).map(short).join(', ') + (ids.length > listed ? ` and ${ids.length - listed} more` : '');

// told says what happened, and how bad it is.
function told(e) {
  switch (e.kind) {
    case 'view': {
      const parts = [];
      if (e.lost) parts.push(`${names(e.lost)} ${e.lost.length === 1 ? 'was' : 'were'} lost`);
      if (e.left) parts.push(`${names(e.left)} ${e.left.length === 1 ? 'has' : 'have'} left`);
      if (e.joined) parts.push(`${names(e.joined)} joined`);
      const line = `view ${e.epoch}: ${plural(e.peers.length, 'peer')}` + (parts.length ? ` (${parts.join('; ')})` : '');
      return [line, e.lost ? 'bad' : e.joined || !e.was ? 'good' : ''];
    }
    case 'broken': return [`the ring of view ${e.epoch} broke: ${e.text}`, 'bad'];
    case 'retry': return [`step ${e.step} is reduced again`, 'warn'];
    case 'silent': return [`${names(e.peers)} was given up: ${e.text}`, 'bad'];
    case 'few': return [`view ${e.epoch} has ${plural(e.peers.length, 'peer')}: ${e.text}`, 'bad'];
    case 'slow': return [e.text, 'warn'];
    case 'recovered': return [`${names(e.peers)} is no longer slow`, 'good'];
    case 'stalled': return [`step ${e.step} waits for ${e.text}`, 'warn'];
    case 'checkpoint': return [`checkpoint after step ${e.step}: ${e.text}`, ''];
    case 'restored': return [`restored after step ${e.step} from ${e.text}`, 'good'];
    case 'diverged': return [e.text, 'bad'];
    case 'drained': return [`${short(e.peer)} has left after step ${e.step}`, ''];
  }
  return [`${e.kind} ${e.text || ''}`, ''];
}

function drawEvents() {
  if (run.events.length === 0) return;
  const all = [...run.events].sort((a, b) => b.time - a.time || b.number - a.number);
  $('events').replaceChildren(...all.map(e => {
    const [text, how] = told(e);
    const li = html(null, 'li', how);
    const t = html(li, 'time', '', new Date(e.time).toLocaleTimeString('en-GB'));
    t.dateTime = new Date(e.time).toISOString();
    html(li, 'i');
    html(li, 'span', 'what', text);
    if (e.kind !== 'view') html(li, 'span', 'by', short(e.peer));
    return li;
  }));
}

// --- light and dark

function theme(to) {
  document.documentElement.dataset.theme = to;
  $('theme').textContent = to;
}

$('theme').addEventListener('click', () => {
  const to = { auto: 'light', light: 'dark', dark: 'auto' }[$('theme').textContent];
  theme(to);
  localStorage.setItem('theme', to);
});

theme(['light', 'dark'].includes(localStorage.getItem('theme')) ? localStorage.getItem('theme') : 'auto');
drawLegend();
connect();
