"use strict";
// Messages as they are shown.
const messages = (() => {
  const NAMES = { user: "You", assistant: "Model", tool: "Tool result", error: "Error" };

  function element(name, text) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function folded(name, title, content) {
    const node = element("details");
    node.className = name;
    node.append(element("summary", title), ...content);
    return node;
  }

  function call(one) {
    let text = one.function.arguments;
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch { /* not complete yet, or not JSON: shown as it is */ }
    const node = folded("call", `Tool call: ${one.function.name}`, [element("pre", text)]);
    node.open = true;
    return node;
  }

  function figures(message) {
    const parts = [];
    const usage = message.usage;
    if (usage) {
      const cached = usage.prompt_tokens_details?.cached_tokens;
      parts.push(`${usage.prompt_tokens} tokens read${cached ? ` (${cached} from the cache)` : ""}, ${usage.completion_tokens} written`);
    }
    if (message.timings?.predicted_per_second) parts.push(`${message.timings.predicted_per_second.toFixed(1)} tokens/s`);
    if (message.stopped) parts.push("stopped");
    else if (message.finish === "length") parts.push("cut off at the limit of tokens");
    return parts.join(", ");
  }

  function content(message) {
    if (message.role === "assistant") return markdown.render(message.content);
    const text = element("p", message.content);
    return [text];
  }

  // Fills `node` with the message; what the reader has unfolded stays so.
  function fill(node, message) {
    const open = node.querySelector("details.thought")?.open || false;
    node.className = message.role === "error" ? "wrong" : message.role;
    node.replaceChildren(element("h3", NAMES[message.role] || message.role));
    if (message.reasoning_content) {
      const thought = folded("thought", message.content ? "Reasoning" : "Reasoning …", markdown.render(message.reasoning_content));
      thought.open = open;
      node.append(thought);
    }
    node.append(...content(message), ...(message.tool_calls || []).filter(Boolean).map(call));
    const text = figures(message);
    if (text) {
      const line = element("p", text);
      line.className = "figures";
      node.append(line);
    }
  }

  return {
    show(message) {
      const node = element("article");
      fill(node, message);
      return node;
    },
    fill,
  };
})();
