"use strict";
// Asks for /json once a second and shows it. What came before is kept to tell rates and the last minute.
const PERIOD_MS = 1000, KEPT = 60, ROWS = 200;
const at = id => document.getElementById(id);
let before = null, paused = false, timer = 0, shown = null, sort = { key: "since", down: true };
const busyOf = new Map();

const SVG = "http://www.w3.org/2000/svg";
// Text is only ever set as text: names come from the program, addresses from peers.
function make(tag, fields = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) name === "class" ? node.className = value : node.setAttribute(name, value);
  node.append(...children.filter(child => child !== null));
  return node;
}
function draw(tag, fields = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(fields)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = n => n < 1e6 ? number.format(n) : (n / (n < 1e9 ? 1e6 : 1e9)).toFixed(1) + (n < 1e9 ? " M" : " G");
function brief(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, size, upTo] of [["ns", 1e-9, 1e-6], ["µs", 1e-6, 1e-3], ["ms", 1e-3, 1]]) if (seconds < upTo) return digits(seconds / size) + " " + unit;
  if (seconds < 120) return digits(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  return seconds < 172800 ? Math.floor(seconds / 3600) + " h" : Math.floor(seconds / 86400) + " d";
}
const digits = value => value.toFixed(value < 10 ? 1 : 0);
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return (unit && n < 10 ? n.toFixed(1) : n.toFixed(0)) + " " + units[unit];
}
const cell = text => make("td", {}, text);
const num = text => make("td", { class: "n" }, text);
const percent = part => (100 * part).toFixed(part < 0.0995 ? 1 : 0) + " %";

function rate(now, old, seconds) { return old === undefined || seconds <= 0 ? 0 : Math.max(0, (now - old) / seconds); }

function busy(worker, old) {
  const more = old ? { busy: worker.busy_seconds - old.busy_seconds, idle: worker.idle_seconds - old.idle_seconds } : { busy: worker.busy_seconds, idle: worker.idle_seconds };
  const all = more.busy + more.idle;
  return all > 0 ? Math.min(1, Math.max(0, more.busy / all)) : 0;
}
function track(part) {
  return make("div", { class: "busy" }, make("div", { class: "track", "aria-hidden": "true" }, draw("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none" }, draw("rect", { width: 100 * part, height: 8 }))), make("span", {}, percent(part)));
}
function spark(values) {
  const points = values.map((value, i) => `${(i + KEPT - values.length).toFixed(0)},${(23 - 22 * value).toFixed(1)}`);
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${KEPT - 1} 24`, preserveAspectRatio: "none", role: "img", "aria-label": `busy, the last ${values.length} looks: at most ${percent(Math.max(...values))}` });
  const first = KEPT - values.length;
  svg.append(draw("polygon", { points: `${first},24 ${points.join(" ")} ${KEPT - 1},24` }), draw("polyline", { points: points.join(" ") }));
  return svg;
}

function workers(data, seconds) {
  const old = new Map((before?.workers ?? []).map(worker => [worker.index, worker]));
  const parts = [];
  at("workers").replaceChildren(...data.workers.map(worker => {
    const was = old.get(worker.index), part = busy(worker, was);
    parts.push(part);
    const kept = busyOf.get(worker.index) ?? [];
    kept.push(part);
    if (kept.length > KEPT) kept.shift();
    busyOf.set(worker.index, kept);
    const state = worker.answers ? cell(worker.state) : make("td", { class: "bad" }, worker.state);
    return make("tr", {}, cell(String(worker.index)), make("td", {}, track(part)), make("td", {}, spark(kept)), num(count(rate(worker.polls, was?.polls, seconds))), num(count(worker.tasks_live)), num(count(worker.runnable)), num(count(worker.sources)), num(count(worker.timers)), num(count(rate(worker.parks, was?.parks, seconds))), state);
  }));
  return parts;
}

function summary(data, seconds, parts) {
  const sum = (list, key) => list.reduce((all, it) => all + it[key], 0);
  const polls = rate(sum(data.workers, "polls"), before ? sum(before.workers, "polls") : undefined, seconds);
  const cards = [["Busy", percent(parts.reduce((a, b) => a + b, 0) / Math.max(1, parts.length))], ["Polls/s", count(polls)], ["Tasks", count(data.tasks_total)]];
  if (data.servers.length) {
    cards.push(["Requests/s", count(rate(sum(data.servers, "requests"), before ? sum(before.servers, "requests") : undefined, seconds))]);
    cards.push(["Connections", count(sum(data.servers, "connections_open"))], ["Streams", count(sum(data.servers, "streams_open"))]);
  }
  at("summary").replaceChildren(...cards.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function histogram(id, data) {
  const all = data.counts.reduce((a, b) => a + b, 0), most = Math.max(1, ...data.counts);
  const used = data.counts.map((n, i) => n ? i : -1).filter(i => i >= 0);
  const first = used.length ? Math.max(0, used[0] - 1) : 0, last = used.length ? Math.min(data.counts.length - 1, used.at(-1) + 1) : 9;
  const bound = i => data.bounds[i] === null || data.bounds[i] === undefined ? "more" : brief(data.bounds[i]);
  const svg = draw("svg", { class: "bars", viewBox: `0 0 ${last - first + 1} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${number.format(all)} timed; half took at most ${brief(data.p50)}, 99 of 100 at most ${brief(data.p99)}` });
  for (let i = first; i <= last; i++) {
    const height = data.counts[i] ? Math.max(1.5, 98 * data.counts[i] / most) : 0;
    const name = draw("title");
    name.textContent = `up to ${bound(i)}: ${number.format(data.counts[i])}`;
    svg.append(draw("rect", { x: i - first + 0.08, y: 100 - height, width: 0.84, height }, name));
  }
  const figures = make("p", { class: "figures" }, `half within ${brief(data.p50)}, 99 % within ${brief(data.p99)}, ${count(all)} timed`);
  at(id).replaceChildren(svg, make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, bound(first)), make("span", {}, bound(Math.floor((first + last) / 2))), make("span", {}, bound(last))), figures);
}

function servers(data, seconds) {
  at("servers-section").hidden = data.servers.length === 0;
  const old = new Map((before?.servers ?? []).map(server => [server.name, server]));
  at("servers").replaceChildren(...data.servers.map(it => {
    const was = old.get(it.name), per = key => rate(it[key], was?.[key], seconds);
    const trips = Object.entries(it.trips).map(([name, n]) => `${name} ${n}`).join(", ");
    return make("tr", {}, make("td", {}, make("div", { class: "name" }, it.name), trips ? make("div", { class: "bad" }, "bounds met: " + trips) : null), num(count(per("requests"))), num(count(it.requests)), num(count(it.connections_open)), num(count(it.streams_open)), num(count(it.handlers)), num(bytes(per("bytes_received"))), num(bytes(per("bytes_sent"))), num(bytes(it.held)), num(count(it.connections_refused)));
  }));
}

function tasks(data) {
  const wanted = at("find").value.trim().toLowerCase();
  const value = task => sort.key === "id" ? Number(task.id.slice(1)) : sort.key === "waits" ? (task.waits[0] ?? task.state) : task[sort.key] ?? -1;
  const found = data.tasks.filter(task => !wanted || [task.id, task.name ?? "", task.place, task.state, task.works_on ?? "", ...task.waits].some(text => text.toLowerCase().includes(wanted)));
  found.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sort.down ? -1 : 1));
  at("tasks-count").textContent = `${count(Math.min(ROWS, found.length))} of ${count(wanted ? found.length : data.tasks_total)}`;
  at("tasks").replaceChildren(...found.slice(0, ROWS).map(task => {
    const title = make("td", {}, make("span", { class: "name" }, task.name ? `${task.id} ${task.name}` : task.id + (task.root ? " root" : "")), make("div", { class: "place" }, task.place));
    if (task.works_on) title.append(make("div", {}, task.works_on));
    const waits = task.waits.length ? task.waits.map(text => make("div", {}, text)) : [task.state];
    return make("tr", {}, title, make("td", {}, ...waits), num(brief(task.since)), num(count(task.polls)), num(brief(task.timed)), num(String(task.worker)));
  }));
}

function connections(data) {
  const sockets = data.connections.filter(it => it.kind !== "other");
  at("connections-count").textContent = `${count(Math.min(ROWS, sockets.length))} of ${count(sockets.length)} that a task waits for`;
  at("connections").replaceChildren(...sockets.slice(0, ROWS).map(it => make("tr", {}, cell(it.local ?? "–"), cell(it.peer ?? "listens"), cell(it.kind), cell(it.waits), num(brief(it.since)), cell(it.task), num(String(it.worker)))));
}

function show(data) {
  const seconds = before ? data.seconds - before.seconds : 0;
  at("about").textContent = `process ${data.process}, version ${data.version}, watched for ${brief(data.seconds)}`;
  at("circles").replaceChildren(...data.circles.map(text => make("div", {}, "A circle that never ends: " + text)));
  summary(data, seconds, workers(data, seconds));
  histogram("poll", data.poll_time);
  histogram("delay", data.schedule_delay);
  servers(data, seconds);
  tasks(data);
  connections(data);
  const pool = data.blocking;
  at("pool").textContent = `${count(pool.threads)} threads, ${count(pool.idle)} of them idle; ${count(pool.running)} jobs run, ${count(pool.queued)} wait, ${count(pool.jobs)} were taken.`;
  at("jobs").replaceChildren(...data.jobs.slice(0, ROWS).map(text => make("li", {}, text)));
  before = shown = data;
  document.documentElement.dataset.looks = String(Number(document.documentElement.dataset.looks ?? 0) + 1);
}

function say(text, kind) {
  const status = at("status");
  // Said again it would be read aloud again.
  if (status.textContent !== text) status.textContent = text;
  status.className = kind;
}

async function look() {
  try {
    const answer = await fetch("json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`the process answers ${answer.status}`);
    const data = await answer.json();
    if (before && data.process !== before.process) { before = null; busyOf.clear(); }
    if (paused) return;
    if (!before || data.seconds > before.seconds) show(data);
    say("live", "");
  } catch (error) {
    say(error instanceof TypeError ? "the process does not answer" : error.message, "lost");
  } finally {
    if (!paused) timer = setTimeout(look, PERIOD_MS);
  }
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
  clearTimeout(timer);
  paused ? say("paused", "still") : look();
});
at("find").addEventListener("input", () => { if (shown) tasks(shown); });
for (const button of document.querySelectorAll("#tasks-table th button")) {
  button.addEventListener("click", () => {
    sort = { key: button.dataset.key, down: sort.key === button.dataset.key ? !sort.down : ["since", "polls", "timed"].includes(button.dataset.key) };
    for (const head of document.querySelectorAll("#tasks-table th")) head.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    if (shown) tasks(shown);
  });
}
look();
