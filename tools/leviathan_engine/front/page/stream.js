"use strict";
// One streamed answer of /v1/chat/completions.
const stream = (() => {
  class ServerError extends Error {}

  async function reason(answer) {
    let text = `${answer.status} ${answer.statusText}`;
    try {
      text = (await answer.json()).error.message;
    } catch { /* not one of our errors: the status says it */ }
    return answer.status === 401 ? `${text}. Enter the API key under Settings.` : text;
  }

  // The JSON of each event; comments (heartbeats) are skipped.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const parts = held.split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        if (!part.startsWith("data: ")) continue;
        const data = part.slice(6);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ServerError(event.error.message);
        yield event;
      }
    }
  }

  // Puts a piece of the answer into the message.
  function merge(message, delta) {
    if (delta.content) message.content += delta.content;
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought) message.reasoning_content = (message.reasoning_content || "") + thought;
    for (const part of delta.tool_calls || []) {
      message.tool_calls ||= [];
      const call = (message.tool_calls[part.index] ||= { id: "", type: "function", function: { name: "", arguments: "" } });
      if (part.id) call.id = part.id;
      if (part.function?.name) call.function.name += part.function.name;
      if (part.function?.arguments) call.function.arguments += part.function.arguments;
    }
  }

  // Asks, and calls changed(progress) whenever the message has grown. `signal` stops the generation.
  async function ask(request, key, message, changed, signal) {
    const headers = { "content-type": "application/json" };
    if (key) headers.authorization = `Bearer ${key}`;
    const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
    const answer = await fetch("v1/chat/completions", { method: "POST", headers, body, signal });
    if (!answer.ok) throw new ServerError(await reason(answer));
    for await (const event of events(answer.body)) {
      const choice = event.choices?.[0];
      if (choice) merge(message, choice.delta || {});
      if (choice?.finish_reason) message.finish = choice.finish_reason;
      if (event.usage) message.usage = event.usage;
      if (event.timings) message.timings = event.timings;
      changed(event.prompt_progress || null);
    }
  }

  return { ask, ServerError };
})();
