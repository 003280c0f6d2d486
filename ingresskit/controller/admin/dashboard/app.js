// The page: what is known, how it is kept up to date, and which view is shown.
//
// Everything known stays on screen when the controller is away; the header says since when.

import { LongTable, byId, el, fill, number, plural, span } from "./dom.js";
import { certificatesOf, diagnosticsOf, filterDiagnostics, filterRoutes, routesOf } from "./data.js";
import { activityItem, cards, certificateRow, diagnosticRow, explanation, routeDetails, routeRow } from "./views.js";

const POLL = 5000;
const AWAY = 12000;
const MOST_ACTIVITY = 30;

const known = { status: null, graph: null, routes: [], diagnostics: [], certificates: [] };
const opened = new Set();
let lastContact = null;
let reachable = false;
let clockOffset = 0; // the controller's clock less ours

const now = () => Date.now() + clockOffset;

// --- asking ---------------------------------------------------------------------------------------

const tags = {};

/** The JSON at *path*; null when it is what we hold already. Throws when there is none. */
async function ask(path) {
  const headers = tags[path] ? { "If-None-Match": tags[path] } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(20000) });
  touched();
  if (answer.status === 304) return null;
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error?.message ?? `the answer was ${answer.status}`);
  const tag = answer.headers.get("etag");
  if (tag) tags[path] = tag;
  return value;
}

/** A task that is done soon, at most once at a time and once in *pause* ms, however often it is asked for. */
function soon(task, pause) {
  let timer = null;
  let wanted = false;
  const go = async () => {
    wanted = false;
    try {
      await task();
    } catch {
      // Away, or nothing live yet: the header says so, and the next poll or event asks again.
    }
    timer = setTimeout(() => {
      timer = null;
      if (wanted) timer = setTimeout(go, 0);
    }, pause);
  };
  return () => {
    wanted = true;
    timer ??= setTimeout(go, 0);
  };
}

const refreshStatus = soon(async () => {
  const status = await ask("api/status");
  const before = known.status?.generation.applied;
  known.status = status;
  clockOffset = Date.parse(status.now) - Date.now();
  showStatus();
  if (status.generation.applied !== before) refreshGraph();
}, 300);

const refreshGraph = soon(async () => {
  const graph = await ask("api/graph");
  if (graph === null) return;
  known.graph = graph;
  known.routes = routesOf(graph);
  known.certificates = certificatesOf(graph, now());
  showRoutes({ keep: true });
  showCertificates();
  showStatus();
}, 1000);

const refreshDiagnostics = soon(async () => {
  const answer = await ask("api/diagnostics");
  if (answer === null) return;
  known.diagnostics = diagnosticsOf(answer);
  showDiagnostics({ keep: true });
}, 1000);

function refreshAll() {
  refreshStatus();
  refreshGraph();
  refreshDiagnostics();
}

// --- listening ------------------------------------------------------------------------------------

function listen() {
  const events = new EventSource("api/events");
  events.addEventListener("hello", refreshAll); // also after each reconnection: something may have been missed
  events.addEventListener("dropped", refreshAll);
  const heard = (kind, refresh) =>
    events.addEventListener(kind, (message) => {
      touched();
      const item = activityItem(JSON.parse(message.data));
      const list = byId("activity");
      list.prepend(item);
      while (list.children.length > MOST_ACTIVITY) list.lastElementChild.remove();
      byId("activity-empty").hidden = true;
      tick();
      refresh();
      refreshStatus();
    });
  heard("graph", refreshGraph);
  heard("diagnostics", refreshDiagnostics);
  heard("apply", () => {});
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, POLL); // refused: polling goes on meanwhile
    refreshStatus();
  });
}

function touched() {
  lastContact = Date.now();
  tick();
}

// --- showing --------------------------------------------------------------------------------------

const routeTable = new LongTable("routes", (route) => {
  const row = routeRow(route, (key) => opened.has(key), toggleRoute);
  if (!opened.has(route.key)) return row;
  const both = document.createDocumentFragment();
  both.append(row, routeDetails(route, 6));
  return both;
}, { empty: "No route is like that." });
const diagnosticTable = new LongTable("diagnostics", diagnosticRow, { empty: "Nothing is wrong." });
const certificateTable = new LongTable("certificates", certificateRow, { empty: "No certificate is in use." });

function toggleRoute(route, button) {
  const row = button.closest("tr");
  const open = !opened.delete(route.key);
  button.setAttribute("aria-expanded", String(open));
  if (open) {
    opened.add(route.key);
    row.after(routeDetails(route, 6));
  } else {
    row.nextElementSibling.remove();
  }
}

function showRoutes({ keep = false } = {}) {
  const found = filterRoutes(known.routes, byId("routes-search").value, byId("routes-filter").value);
  routeTable.show(found, { keep });
  byId("routes-shown").textContent =
    found.length === known.routes.length ? plural(found.length, "route") : `${number(found.length)} of ${plural(known.routes.length, "route")}`;
}

function showDiagnostics({ keep = false } = {}) {
  const severity = document.querySelector("input[name=severity]:checked").value;
  const found = filterDiagnostics(known.diagnostics, byId("diagnostics-search").value, severity);
  diagnosticTable.show(found, { keep });
  byId("diagnostics-shown").textContent =
    found.length === known.diagnostics.length ? "" : `${number(found.length)} of ${number(known.diagnostics.length)}`;
}

function showCertificates() {
  certificateTable.show(known.certificates, { keep: true });
  byId("certificates-shown").textContent = known.certificates.length ? `${plural(known.certificates.length, "certificate")}, the first to expire first` : "";
}

function showStatus() {
  const { status } = known;
  if (!status) return;
  const ready = status.ready.status === "ok";
  pill("ready", ready ? "Ready" : "Not ready", ready ? "good" : "bad", status.ready.problems.join("; "));
  chip("renderer", status.renderer);
  chip("version", status.versions.ingresskit);
  fill(byId("cards"), cards(status, known.certificates));
  fill(byId("caches"), status.caches.map((cache) => el("tr", {}, el("th", { scope: "row" }, cache.kind), el("td", {}, number(cache.objects)))));
  byId("caches-empty").hidden = status.caches.length > 0;
  count("count-routes", status.counts.routes);
  count("count-certificates", status.counts.certificates);
  count("count-diagnostics", status.diagnostics.error + status.diagnostics.warning, status.diagnostics.error ? "bad" : "warn");
  tick();
}

/** What changes with time alone. */
function tick() {
  for (const node of document.querySelectorAll("[data-ago]")) {
    const text = `${span((now() - Date.parse(node.dataset.ago)) / 1000)} ago`;
    if (node.textContent !== text) node.textContent = text;
  }
  reachable = lastContact !== null && Date.now() - lastContact < AWAY;
  const since = lastContact === null ? "No contact yet" : `Last contact ${span((Date.now() - lastContact) / 1000)} ago`;
  pill("contact", reachable ? "Live" : since, reachable ? "good" : lastContact === null ? "wait" : "warn", reachable ? "changes are shown as they happen" : "");
  showBanners();
}

let bannerText = "";

function showBanners() {
  const banners = [];
  const { status } = known;
  if (!reachable && lastContact !== null) {
    banners.push(["warn", "The controller does not respond. Its last known state is shown; this page keeps trying."]);
  }
  if (status?.live.status === "unavailable") banners.push(["bad", `Unhealthy: ${status.live.problems.join("; ")}`]);
  if (status?.failuresInRow && status.lastFailure) {
    const { stage, message } = status.lastFailure;
    banners.push(["bad", `The last ${plural(status.failuresInRow, "pass", "passes")} failed at ${stage}: ${message}. What was live stays live.`]);
  }
  const text = JSON.stringify(banners);
  if (text === bannerText) return; // said once, not each second
  bannerText = text;
  fill(byId("banners"), banners.map(([tone, words]) => el("p", { class: `banner ${tone}` }, words)));
}

function pill(id, text, tone, title) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
  node.className = `pill ${tone}`;
  node.title = title;
}

function chip(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

function count(id, value, tone = "") {
  byId(id).textContent = value ? number(value) : "";
  byId(id).className = `count ${tone}`;
}

// --- views, by the part of the address after # ----------------------------------------------------

function showView() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  const sections = [...document.querySelectorAll("main > section")];
  const view = sections.some((section) => section.id === name) ? name : "overview";
  for (const section of sections) section.hidden = section.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  const title = document.querySelector(`nav a[data-view=${view}]`).firstChild.textContent.trim();
  document.title = `${title} – ingresskit`;
  const values = new URLSearchParams(query);
  if (view === "routes" && values.has("filter")) {
    byId("routes-filter").value = values.get("filter");
    showRoutes();
  }
  if (view === "why" && values.has("url")) askWhy(values);
}

// --- why? -----------------------------------------------------------------------------------------

const form = byId("why-form");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const values = new URLSearchParams({ url: form.elements.url.value.trim(), method: form.elements.method.value.trim() || "GET" });
  for (const line of form.elements.headers.value.split("\n")) if (line.trim()) values.append("header", line.trim());
  if (form.elements.client.value.trim()) values.set("client", form.elements.client.value.trim());
  const hash = `#why?${values}`;
  if (location.hash === hash) askWhy(values);
  else location.hash = hash; // an address to share
});

async function askWhy(values) {
  form.elements.url.value = values.get("url");
  form.elements.method.value = values.get("method") ?? "GET";
  form.elements.headers.value = values.getAll("header").join("\n");
  form.elements.client.value = values.get("client") ?? "";
  form.querySelector("details").open ||= values.has("header") || values.has("client");
  try {
    fill(byId("why-answer"), explanation(await ask(`api/explain?${values}`)));
  } catch (error) {
    const text = error instanceof TypeError ? "the controller cannot be reached" : error.message;
    fill(byId("why-answer"), el("p", { class: "banner bad" }, text));
  }
}

// --- start ----------------------------------------------------------------------------------------

function later(task, wait) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(task, wait);
  };
}

byId("routes-search").addEventListener("input", later(showRoutes, 80));
byId("routes-filter").addEventListener("change", () => showRoutes());
byId("diagnostics-search").addEventListener("input", later(showDiagnostics, 80));
for (const input of document.querySelectorAll("input[name=severity]")) input.addEventListener("change", () => showDiagnostics());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  const search = document.querySelector("section:not([hidden]) input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
window.addEventListener("hashchange", showView);
setInterval(tick, 1000);
setInterval(() => document.hidden || refreshStatus(), POLL);
document.addEventListener("visibilitychange", () => document.hidden || refreshStatus());

showView();
tick();
refreshAll();
listen();
