"use strict";
// The conversation: what the keys and buttons do.
(() => {
  const byId = (id) => document.getElementById(id);
  const log = byId("log");
  const box = byId("message");
  const SETTINGS = ["system", "temperature", "tools"];
  let talk = null;
  let running = null;
  let ready = false;

  function notice(text) {
    byId("notice").textContent = text;
  }

  function buttons() {
    byId("stop").hidden = running === null;
    byId("send").disabled = running !== null || !ready;
  }

  function button(text, label, action) {
    const node = document.createElement("button");
    node.type = "button";
    node.textContent = text;
    if (label) node.setAttribute("aria-label", label);
    node.addEventListener("click", action);
    return node;
  }

  function listTalks() {
    byId("talks").replaceChildren(...talks.all().filter((one) => one.messages.length).map((one) => {
      const item = document.createElement("li");
      const choose = button(one.title || "untitled", "", () => open(one));
      if (one === talk) choose.setAttribute("aria-current", "true");
      const remove = button("×", `Delete the talk ${one.title}`, () => {
        talks.remove(one.id);
        if (one === talk) open(talks.all()[0] || talks.add());
        else listTalks();
      });
      item.append(choose, remove);
      return item;
    }));
  }

  function open(chosen) {
    running?.abort();
    talk = chosen;
    log.replaceChildren(...talk.messages.map(messages.show));
    log.scrollTop = log.scrollHeight;
    listTalks();
  }

  function add(message) {
    const node = messages.show(message);
    log.append(node);
    log.scrollTop = log.scrollHeight;
    return node;
  }

  function keep(one) {
    if (!talks.save(one)) notice("This browser has no room for this talk: it is lost with the tab.");
    listTalks();
  }

  // The messages without what is only ours. An answer's reasoning is not sent back, as templates expect.
  function sent(list) {
    return list.filter((one) => one.role !== "error").map(({ role, content, tool_calls, tool_call_id }) => {
      const out = { role, content };
      if (tool_calls) out.tool_calls = tool_calls;
      if (tool_call_id) out.tool_call_id = tool_call_id;
      return out;
    });
  }

  function request() {
    const system = byId("system").value.trim();
    const out = { model: state.model(), messages: sent(talk.messages), return_progress: true };
    if (system) out.messages.unshift({ role: "system", content: system });
    if (byId("temperature").value) out.temperature = Number(byId("temperature").value);
    if (byId("tools").value.trim()) out.tools = JSON.parse(byId("tools").value);
    return out;
  }

  // Fills the node at most once a frame, and follows the end of the text unless the reader has scrolled up.
  function painter(node, message) {
    let asked = 0;
    const paint = () => {
      asked = 0;
      const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      messages.fill(node, message);
      if (follows) log.scrollTop = log.scrollHeight;
    };
    return { soon: () => (asked ||= requestAnimationFrame(paint)), now: () => { cancelAnimationFrame(asked); paint(); } };
  }

  function progressText(progress) {
    return progress && progress.total ? `Reading the prompt: ${Math.round((100 * progress.processed) / progress.total)} %` : "";
  }

  async function answer() {
    let body;
    try {
      body = request();
    } catch (err) {
      notice(`Tools are not JSON: ${err.message}`);
      return;
    }
    const mine = talk;
    const message = { role: "assistant", content: "" };
    mine.messages.push(message);
    const paint = painter(add(message), message);
    running = new AbortController();
    buttons();
    notice("Waiting for the model …");
    const saving = setInterval(() => talks.save(mine), 1000); // a tab that is closed loses a second at most
    try {
      await stream.ask(body, byId("key").value.trim(), message, (progress) => {
        notice(progressText(progress));
        paint.soon();
      }, running.signal);
      notice("");
    } catch (err) {
      notice("");
      if (err.name === "AbortError") message.stopped = true;
      else mine.messages.push({ role: "error", content: err instanceof stream.ServerError ? err.message : `The connection broke: ${err.message}` });
    } finally {
      clearInterval(saving);
      running = null;
      paint.now();
      if (!message.content && !message.tool_calls && !message.reasoning_content) mine.messages.splice(mine.messages.indexOf(message), 1);
      keep(mine);
      if (mine === talk) log.replaceChildren(...talk.messages.map(messages.show));
      log.scrollTop = log.scrollHeight;
      askResults(mine, message);
      buttons();
      box.focus();
    }
  }

  // The results of tool calls are typed in: the page runs nothing.
  function askResults(mine, message) {
    const open = (message.tool_calls || []).filter((call) => call && !message.stopped);
    if (!open.length || mine !== talk) return;
    notice(`Type the result of ${open[0].function.name} and send it.`);
  }

  function pending() {
    const last = talk.messages.findLast((one) => one.role === "assistant" || one.role === "user");
    if (!last || !last.tool_calls) return null;
    const done = new Set(talk.messages.filter((one) => one.role === "tool").map((one) => one.tool_call_id));
    return last.tool_calls.filter(Boolean).filter((call) => !done.has(call.id));
  }

  function send() {
    const text = box.value.trim();
    if (!text || running || !ready) return;
    box.value = "";
    const calls = pending();
    if (calls && calls.length) {
      const result = { role: "tool", content: text, tool_call_id: calls[0].id };
      talk.messages.push(result);
      add(result);
      if (calls.length > 1) {
        keep(talk);
        notice(`Type the result of ${calls[1].function.name} and send it.`);
        return;
      }
    } else {
      const message = { role: "user", content: text };
      talk.messages.push(message);
      add(message);
    }
    keep(talk);
    answer();
  }

  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("new").addEventListener("click", () => {
    open(talks.add());
    box.focus();
  });
  // The key stays with the tab, the other settings with the browser.
  byId("key").value = sessionStorage.getItem("leviathan.key") || "";
  byId("key").addEventListener("input", () => sessionStorage.setItem("leviathan.key", byId("key").value));
  for (const name of SETTINGS) {
    byId(name).value = localStorage.getItem(`leviathan.${name}`) || "";
    byId(name).addEventListener("input", () => localStorage.setItem(`leviathan.${name}`, byId(name).value));
  }
  if (matchMedia("(max-width: 45rem)").matches) byId("side").open = false;
  open(talks.all()[0] || talks.add());
  state.start((now) => {
    ready = now;
    buttons();
  });
  buttons();
  box.focus();
})();
