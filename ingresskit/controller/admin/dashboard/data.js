// From the API's answers to what the views show. No DOM in here.

/** One entry for each route of /api/graph, in the graph's order. */
export function routesOf(graph) {
  const routes = [];
  for (const host of graph.virtualHosts) {
    for (const route of host.routes) {
      const goes = targetOf(route, graph);
      const policies = Object.keys(route.policies);
      const entry = {
        key: `${host.host} ${route.match.type} ${route.match.path}`,
        host: host.host,
        owner: host.owner,
        tls: host.tls,
        certificate: certificateFor(host.host, graph),
        path: route.match.path,
        type: route.match.type,
        fallback: route.fallback,
        origin: route.origin,
        policies,
        policyDetails: route.policies,
        ...goes,
      };
      entry.text = [entry.host, entry.path, entry.type, entry.label, entry.origin.object, ...policies, ...goes.parts.map((part) => part.name)]
        .join(" ")
        .toLowerCase();
      routes.push(entry);
    }
  }
  return routes;
}

function targetOf({ action }, graph) {
  if (action.redirect) {
    const { location, status } = action.redirect;
    return { kind: "redirect", broken: false, label: `${status} → ${location}`, parts: [] };
  }
  if (action.respond) {
    const { status, reason, message } = action.respond;
    return { kind: "respond", broken: status >= 500, label: `answers ${status}`, why: message || reason || "", parts: [] };
  }
  const total = action.forward.reduce((sum, share) => sum + share.weight, 0);
  const parts = action.forward.map((share) => {
    const backend = graph.backends[share.backend] ?? { endpoints: [], note: "unknown", protocol: "" };
    return {
      name: share.backend,
      share: action.forward.length > 1 ? Math.round((100 * share.weight) / total) : null,
      endpoints: backend.endpoints,
      note: backend.note,
      protocol: backend.protocol,
    };
  });
  return { kind: "forward", broken: parts.every((part) => !part.endpoints.length), label: "", parts };
}

function certificateFor(host, graph) {
  const parent = host.replace(/^[^.]+/, "*");
  return graph.serverNames[host] ?? graph.serverNames[parent] ?? graph.defaultCertificate;
}

const KEEPS = {
  all: () => true,
  broken: (route) => route.broken,
  forward: (route) => route.kind === "forward",
  redirect: (route) => route.kind === "redirect",
  tls: (route) => route.tls,
  plain: (route) => !route.tls,
  policies: (route) => route.policies.length > 0,
};

/** The routes that hold every word of *search* and pass *filter*. */
export function filterRoutes(routes, search, filter) {
  const words = wordsOf(search);
  const keep = KEEPS[filter] ?? KEEPS.all;
  return routes.filter((route) => keep(route) && words.every((word) => route.text.includes(word)));
}

/** One entry for each of /api/diagnostics, errors first. */
export function diagnosticsOf(answer) {
  const rank = { error: 0, warning: 1 };
  return answer.diagnostics
    .map((item) => ({
      ...item,
      object: nameOf(item.subject),
      text: [item.reason, nameOf(item.subject), item.field, item.message].join(" ").toLowerCase(),
    }))
    .sort((one, other) => rank[one.severity] - rank[other.severity]);
}

export function filterDiagnostics(diagnostics, search, severity) {
  const words = wordsOf(search);
  return diagnostics.filter(
    (item) => (severity === "all" || item.severity === severity) && words.every((word) => item.text.includes(word)),
  );
}

/** One entry for each certificate in use, the first to expire first. */
export function certificatesOf(graph, now) {
  const serves = new Map();
  for (const [name, key] of Object.entries(graph.serverNames)) {
    serves.set(key, [...(serves.get(key) ?? []), name]);
  }
  return Object.entries(graph.certificates)
    .map(([secret, item]) => ({
      secret,
      ...item,
      serves: serves.get(secret) ?? [],
      isDefault: graph.defaultCertificate === secret,
      left: (Date.parse(item.notAfter) - now) / 1000,
    }))
    .sort((one, other) => one.left - other.left || (one.secret < other.secret ? -1 : 1));
}

export function nameOf({ kind, namespace, name }) {
  return namespace ? `${kind} ${namespace}/${name}` : `${kind} ${name}`;
}

const wordsOf = (search) => search.toLowerCase().split(/\s+/).filter(Boolean);
