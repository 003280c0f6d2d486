// What the rows, cards and answers look like.

import { cell, duration, el, number, plural, span } from "./dom.js";
import { nameOf } from "./data.js";

const badge = (text, tone = "") => el("span", { class: `badge ${tone}` }, text);
const code = (text, tone = "") => el("code", { class: tone || null }, text);
const origin = ({ object, field }) => [el("span", { class: "object" }, object), field ? el("small", { class: "field" }, field) : null];

/** "3 min ago", kept true by the page's clock. */
export const ago = (time) => el("time", { datetime: time, "data-ago": time, title: new Date(time).toLocaleString() }, "now");

export function routeRow(route, isOpen, toggle) {
  const open = isOpen(route.key);
  const button = el(
    "button",
    { type: "button", class: "disclose", "aria-expanded": String(open), onclick: () => toggle(route, button) },
    code(route.host === "*" ? "any host" : route.host),
  );
  const row = el(
    "tr",
    { class: route.broken ? "broken" : null },
    cell("Host", button),
    cell("Path", code(route.path), " ", badge(route.fallback ? "default backend" : route.type, "soft")),
    cell("Goes to", goesTo(route)),
    cell("TLS", route.tls ? badge("TLS", "good") : el("span", { class: "none" }, "—")),
    cell("Policies", route.policies.length ? route.policies.map((name) => badge(name, "soft")) : el("span", { class: "none" }, "—")),
    cell("Asked for by", el("span", { class: "object" }, route.origin.object)),
  );
  return row;
}

function goesTo(route) {
  if (route.kind === "redirect") return el("span", {}, badge("redirect", "info"), " ", code(route.label));
  if (route.kind === "respond") return el("span", { title: route.why }, badge(route.label, route.broken ? "bad" : "info"));
  return route.parts.map((part) =>
    el(
      "div",
      { class: "backend" },
      code(part.name),
      part.share === null ? null : badge(`${part.share} %`, "soft"),
      el("span", { class: part.endpoints.length ? "ends" : "ends none-left" }, plural(part.endpoints.length, "endpoint")),
    ),
  );
}

export function routeDetails(route, columns) {
  const facts = [
    ["Rule", [origin(route.origin)]],
    ["Held by", route.owner ? `namespace ${route.owner}` : null],
    ["Certificate", route.tls ? (route.certificate ?? "the proxy's own") : null],
    ["Why", route.why || null],
  ];
  for (const part of route.parts) {
    const shown = part.endpoints.slice(0, 50).map((end) => code(`${end.address.includes(":") ? `[${end.address}]` : end.address}:${end.port}`, end.draining ? "draining" : ""));
    const rest = part.endpoints.length > 50 ? ` and ${number(part.endpoints.length - 50)} more` : null;
    facts.push([part.name, shown.length ? [badge(part.protocol, "soft"), ...shown, rest] : part.note || "no endpoints"]);
  }
  for (const [name, policy] of Object.entries(route.policyDetails)) {
    const values = Object.entries(policy.values).filter(([field]) => field in policy.origins);
    const shown = (values.length ? values : Object.entries(policy.values)).map(([field, value]) =>
      el("div", { title: policy.origins[field]?.field ?? "" }, `${field} = `, code(typeof value === "string" ? value : JSON.stringify(value))),
    );
    facts.push([name, shown]);
  }
  return el("tr", { class: "details" }, el("td", { colspan: String(columns) }, factList(facts)));
}

function factList(facts) {
  return el("dl", {}, facts.filter(([, value]) => value !== null).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function diagnosticRow(item) {
  return el(
    "tr",
    {},
    cell("Severity", badge(item.severity, item.severity === "error" ? "bad" : "warn")),
    cell("Reason", code(item.reason, "word")),
    cell("Object", el("span", { class: "object" }, item.object), item.field ? el("small", { class: "field" }, item.field) : null),
    cell("What is wrong", item.message, item.related.length ? el("small", { class: "related" }, `see ${item.related.map(nameOf).join(", ")}`) : null),
  );
}

export function certificateRow(item) {
  const tone = item.left <= 0 ? "bad" : item.left < 14 * 86400 ? "warn" : "good";
  const when = item.left <= 0 ? `expired ${span(-item.left)} ago` : `in ${span(item.left)}`;
  return el(
    "tr",
    {},
    cell("Serves", item.serves.map((name) => el("div", {}, code(name))), item.isDefault ? badge("default", "info") : null),
    cell("Secret", el("span", { class: "object" }, item.secret)),
    cell("Names in it", item.names.map((name) => el("div", {}, code(name)))),
    cell("Expires", badge(when, tone), el("small", { class: "field" }, new Date(item.notAfter).toISOString().slice(0, 16).replace("T", " "), " UTC")),
    cell("Digest", code(item.digest.slice(0, 12), "quiet")),
  );
}

export function cards(status, certificates) {
  const { counts, generation, lastApply, diagnostics } = status;
  const lagging = generation.applied !== generation.seen;
  const without = counts.backendsWithoutEndpoints ?? 0;
  const first = certificates[0];
  return [
    card("Readiness", status.ready.status === "ok" ? "Ready" : "Not ready", status.ready.status === "ok" ? "good" : "bad", status.ready.problems.length ? status.ready.problems.map((text) => el("div", {}, text)) : "the first configuration is live"),
    card("Generation", generation.applied === null ? "none" : number(generation.applied), lagging ? "warn" : "", lagging ? `${number(generation.seen)} seen, not live yet` : "live, nothing newer is known"),
    card("Last apply", lastApply ? lastApply.kind : "none", "", lastApply ? [`${duration(lastApply.durationSeconds)}, `, ago(lastApply.at), lastApply.reason ? el("div", { class: "clip", title: lastApply.reason }, lastApply.reason) : null] : "nothing was put live yet"),
    card("Routes", number(counts.routes), "", `on ${plural(counts.virtualHosts ?? 0, "host")}`, "#routes"),
    card("Endpoints", number(counts.endpoints), without ? "warn" : "", without ? `${plural(without, "backend has", "backends have")} none` : `of ${plural(counts.backends ?? 0, "backend")}`, without ? "#routes?filter=broken" : "#routes"),
    card("Diagnostics", number(diagnostics.error + diagnostics.warning), diagnostics.error ? "bad" : diagnostics.warning ? "warn" : "good", `${plural(diagnostics.error, "error")}, ${plural(diagnostics.warning, "warning")}`, "#diagnostics"),
    card("Certificates", number(counts.certificates), first && first.left < 14 * 86400 ? (first.left <= 0 ? "bad" : "warn") : "", first ? (first.left <= 0 ? `one expired ${span(-first.left)} ago` : `the first expires in ${span(first.left)}`) : "none in use", "#certificates"),
    card("Changes", number(Object.values(status.applies).reduce((sum, count) => sum + count, 0)), "", Object.entries(status.applies).filter(([, count]) => count).map(([kind, count]) => `${number(count)} ${kind}`).join(", ") || "nothing was put live yet"),
  ];
}

function card(title, value, tone, note, href = null) {
  return el(href ? "a" : "div", { class: `card ${tone}`, href }, el("h2", {}, title), el("p", { class: "value" }, value), el("div", { class: "note" }, note));
}

const EVENTS = {
  graph: (facts) => (facts.endpointsOnly ? `endpoints of ${plural(facts.backends, "backend")} changed` : `${["hosts", "backends", "certificates"].filter((plane) => facts[plane]).map((plane) => plural(facts[plane], plane.slice(0, -1))).join(", ") || "settings"} changed`),
  diagnostics: (facts) => `${number(facts.appeared)} appeared, ${number(facts.gone)} gone; ${plural(facts.errors, "error")} and ${plural(facts.warnings, "warning")} in force`,
  apply: (facts) => (facts.ok ? `${facts.applyKind} in ${duration(facts.durationSeconds)}${facts.reason ? `: ${facts.reason}` : ""}` : `failed at ${facts.stage}: ${facts.reason}`),
};

export function activityItem(event) {
  const tone = event.kind === "apply" ? (event.ok ? "good" : "bad") : event.kind === "diagnostics" ? "warn" : "info";
  return el("li", {}, badge(event.kind, tone), el("span", { class: "what" }, EVENTS[event.kind](event)), el("span", { class: "when" }, ago(event.at)));
}

export function explanation(answer) {
  const { status, route, verdict, nearMisses } = answer;
  const tone = status === null ? "good" : status >= 400 ? "bad" : "info";
  const facts = [
    ["Host", [code(answer.host), answer.virtualHost && answer.virtualHost !== answer.host ? [" taken by ", code(answer.virtualHost)] : null]],
    ["Path", [code(answer.path)]],
    ["Rule", route ? [code(`${route.match.type} ${route.match.path}`), " ", el("span", { class: "object" }, route.origin.object), el("small", { class: "field" }, route.origin.field)] : null],
    ["Held by", answer.holder ? [`namespace ${answer.holder.namespace}`, answer.holder.since ? ` since ${answer.holder.since}` : "", `: ${answer.holder.why}`] : null],
    ["Policies", route && Object.keys(route.policies).length ? Object.keys(route.policies).map((name) => badge(name, "soft")) : null],
  ];
  return [
    el("div", { class: `panel verdict ${tone}` }, el("p", { class: "headline" }, badge(status === null ? "forwarded" : String(status), tone), el("span", {}, status === null ? verdict : verdict.replace(/^\d{3}: /, ""))), factList(facts)),
    el("h2", {}, nearMisses.length ? `Near misses (${answer.nearMissCount > nearMisses.length ? `${nearMisses.length} of ${number(answer.nearMissCount)} shown` : nearMisses.length})` : "No rule came near"),
    nearMisses.length ? missTable(nearMisses) : null,
  ];
}

function missTable(misses) {
  const heads = ["Rule", "Why not", "Asked for by"];
  return el(
    "div",
    { class: "table" },
    el(
      "table",
      { id: "near-misses" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, misses.map((miss) =>
        el("tr", {}, cell("Rule", code(miss.host || "any host"), " ", code(miss.path)), cell("Why not", badge(miss.reason, "soft"), el("div", {}, miss.message, miss.winner ? ` (${miss.winner} is served instead)` : "")), cell("Asked for by", origin(miss.origin))),
      )),
    ),
  );
}
