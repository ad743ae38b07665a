// Shows what the API answers, to who is logged in or has typed the token. The token stays in this tab; everything is put
// into the page as text.
"use strict";

const PERIOD_MS = 2000;
const byId = (id) => document.getElementById(id);
let timer = null;

async function get(path) {
  const token = sessionStorage.getItem("token");
  const answer = await fetch("/api/v1" + path, {
    headers: token ? { Authorization: "Bearer " + token } : {},
  });
  const body = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(body.detail || answer.statusText), { status: answer.status });
  }
  return body;
}

function table(id, head, rows) {
  const line = (cells, tag) => {
    const tr = document.createElement("tr");
    for (const cell of cells) {
      const td = document.createElement(tag);
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
      td.textContent = text === null || text === undefined ? "–" : String(text);
      td.className = kind;
      tr.append(td);
    }
    return tr;
  };
  byId(id).replaceChildren(line(head, "th"), ...rows.map((cells) => line(cells, "td")));
}

const time = (at) => (at ? at.replace("T", " ") : "–");

async function show() {
  const [tasks, runs, queues, nodes, leader] = await Promise.all([
    get("/tasks?limit=50"), get("/runs?limit=30"), get("/queues"), get("/nodes"), get("/leader"),
  ]);
  byId("leader").textContent = leader.node
    ? `${leader.node} leads since ${time(leader.since)} (term ${leader.epoch})${leader.alive ? "" : ", and is not alive"}`
    : "nobody has led yet";
  table("tasks", ["name", "schedule", "zone", "handler", "queue", "next"], tasks.items.map((t) =>
    [t.name, t.schedule, t.timezone, Object.keys(t.handler)[0], t.queue, t.paused ? "paused" : time(t.next_due_at)]));
  table("runs", ["run", "task", "state", "due", "late", "attempt", "worker", "error"], runs.items.map((r) =>
    [r.id, r.task, [r.reason ? `${r.state} (${r.reason})` : r.state, r.state], time(r.due_at),
      r.lateness_ms === null ? null : `${r.lateness_ms} ms`, r.attempt, r.worker, r.error]));
  table("queues", ["queue", "future", "waiting", "running"], queues.items.map((q) => [q.name, q.future, q.waiting, q.running]));
  table("nodes", ["node", "roles", "queues", "busy", "last beat", "version"], nodes.items.map((n) =>
    [n.name, n.roles.join(", "), n.queues.join(", "), `${n.busy}/${n.slots}`, time(n.beat_at), n.version]));
}

async function tick() {
  timer = null;
  if (!document.hidden) {
    try {
      await show();
      byId("message").textContent = "";
      byId("views").hidden = false;
      byId("login").hidden = true;
    } catch (error) {
      const asked = error.status === 401 && !sessionStorage.getItem("token");
      byId("message").textContent = asked ? "" : error.message;
      if (error.status === 401) {
        sessionStorage.removeItem("token");
        byId("login").hidden = false;
        byId("views").hidden = true;
        return;
      }
    }
  }
  timer = setTimeout(tick, PERIOD_MS);
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value.trim());
  byId("token").value = "";
  clearTimeout(timer);
  tick();
});

tick();
