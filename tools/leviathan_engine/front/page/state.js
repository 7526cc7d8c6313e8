"use strict";
// The server's state: /health while the model loads, /metrics after that.
const state = (() => {
  const byId = (id) => document.getElementById(id);
  const EVERY = { loading: 1000, ok: 2000, gone: 3000 };

  function bytes(count) {
    for (const [size, name] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"]]) {
      if (count >= size) return `${(count / size).toFixed(1)} ${name}`;
    }
    return `${count} bytes`;
  }

  function duration(seconds) {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  // name -> [{labels, value}] of Prometheus' text format.
  function parse(text) {
    const found = new Map();
    for (const line of text.split("\n")) {
      const match = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (!match) continue;
      const labels = Object.fromEntries([...(match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]));
      if (!found.has(match[1])) found.set(match[1], []);
      found.get(match[1]).push({ labels, value: Number(match[3]) });
    }
    return found;
  }

  // What is shown, in order; a row whose metric is missing is left out.
  function rows(metrics) {
    const one = (name) => metrics.get(name)?.[0]?.value;
    const out = [];
    const row = (label, name, text) => one(name) !== undefined && out.push([label, text(one(name))]);
    const percent = (value) => `${(100 * value).toFixed(1)} %`;
    row("Tokens/s", "leviathan_tokens_per_second", (value) => (value ? value.toFixed(1) : "none yet"));
    row("Answering", "leviathan_running", String);
    row("Waiting", "leviathan_queue_waiting", String);
    const prompt = one("leviathan_prompt_read_total_tokens");
    if (prompt) out.push(["Prompt", `${percent(one("leviathan_prompt_read_ratio"))} of ${prompt} tokens read`]);
    const total = metrics.get("leviathan_vram_total_bytes") || [];
    for (const { labels, value } of metrics.get("leviathan_vram_used_bytes") || []) {
      const most = total.find((other) => other.labels.gpu === labels.gpu)?.value;
      out.push([`GPU ${labels.gpu}`, most ? `${bytes(value)} of ${bytes(most)}` : bytes(value)]);
    }
    row("Engine's RAM", "leviathan_engine_resident_bytes", bytes);
    row("Container", "leviathan_memory_bytes", bytes);
    row("Pages in use", "vllm:kv_cache_usage_perc", percent);
    const [asked, hit] = [one("vllm:prefix_cache_queries_total"), one("vllm:prefix_cache_hits_total")];
    if (asked && hit !== undefined) out.push(["Prompt cache hits", percent(hit / asked)]);
    row("Expert hits", "leviathan_expert_hit_ratio", percent);
    return out;
  }

  function show(list) {
    byId("state").replaceChildren(...list.flatMap(([label, value]) => {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = label;
      text.textContent = value;
      return [term, text];
    }));
  }

  function showLoad(health) {
    byId("load").hidden = health.status === "ok";
    byId("load-title").textContent = health.status === "failed" ? "The engine has failed" : "The model is loading";
    byId("load-bar").value = health.percent;
    const parts = [`${health.percent} %`];
    if (health.bytes) parts[0] += ` of ${bytes(health.bytes)}`;
    if (health.layers) parts.push(`layer ${health.layers_loaded} of ${health.layers}`);
    if (health.estimate_seconds !== null && health.status === "loading") parts.push(`about ${duration(health.estimate_seconds)} left`);
    if (health.detail) parts.push(health.detail);
    byId("load-text").textContent = parts.join(", ");
  }

  let model = "";
  let ready = () => {};

  async function look() {
    let next = EVERY.gone;
    try {
      const health = await (await fetch("health")).json();
      model = health.model || "";
      byId("model").textContent = model;
      byId("phase").textContent = health.status === "ok" ? "ready" : health.phase;
      showLoad(health);
      show(rows(parse(await (await fetch("metrics")).text())));
      next = health.status === "ok" ? EVERY.ok : EVERY.loading;
      ready(health.status === "ok");
    } catch {
      byId("phase").textContent = "the server does not answer";
      ready(false);
    }
    setTimeout(look, next);
  }

  return {
    model: () => model,
    duration,
    start(whenReady) {
      ready = whenReady;
      look();
    },
  };
})();
