"use strict";
// Markdown to DOM nodes. Text never becomes HTML: every node is made by createElement and filled by textContent.
const markdown = (() => {
  const SAFE_LINK = /^(https?:\/\/|mailto:)/i;
  const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/;
  const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
  const ROW = /^\s*\|.*\|\s*$/;
  const RULE = /^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$/;
  // Code first: nothing inside of it is markup.
  const SPAN = /(`+)(.+?)\1(?!`)|\*\*(.+?)\*\*|__(.+?)__|\*([^*\s][^*]*?)\*|\b_([^_\s][^_]*?)_\b|~~(.+?)~~|\[([^\]]+)\]\(([^()\s]+)\)/;

  function element(name, ...children) {
    const node = document.createElement(name);
    node.append(...children);
    return node;
  }

  function link(text, address) {
    if (!SAFE_LINK.test(address)) return document.createTextNode(`[${text}](${address})`);
    const node = element("a", ...inline(text));
    node.href = address;
    node.target = "_blank";
    node.rel = "noopener noreferrer";
    return node;
  }

  function inline(text) {
    const nodes = [];
    for (let match = SPAN.exec(text); match; match = SPAN.exec(text)) {
      if (match.index) nodes.push(text.slice(0, match.index));
      const [whole, , code, strong, strong2, em, em2, struck, label, address] = match;
      if (code !== undefined) nodes.push(element("code", code.trim() || code));
      else if (strong || strong2) nodes.push(element("strong", ...inline(strong || strong2)));
      else if (em || em2) nodes.push(element("em", ...inline(em || em2)));
      else if (struck) nodes.push(element("s", ...inline(struck)));
      else nodes.push(link(label, address));
      text = text.slice(match.index + whole.length);
    }
    if (text) nodes.push(text);
    return nodes;
  }

  function cells(line, name) {
    const parts = line.trim().replace(/^\||\|$/g, "").split("|");
    return element("tr", ...parts.map((part) => element(name, ...inline(part.trim()))));
  }

  // A list from lines[at] on, with the lists inside of it; gives the node and the line after it.
  function list(lines, at, depth) {
    const first = ITEM.exec(lines[at]);
    const ordered = /\d/.test(first[2]);
    const node = element(ordered ? "ol" : "ul");
    if (ordered) node.start = parseInt(first[2], 10);
    const indent = first[1].length;
    while (at < lines.length) {
      const match = ITEM.exec(lines[at]);
      if (match && match[1].length > indent + 1 && node.lastChild && depth < 8) {
        const [inner, next] = list(lines, at, depth + 1);
        node.lastChild.append(inner);
        at = next;
      } else if (match && match[1].length >= indent - 1 && /\d/.test(match[2]) === ordered) {
        node.append(element("li", ...inline(match[3])));
        at += 1;
      } else if (!match && lines[at].trim() && /^\s/.test(lines[at]) && node.lastChild) {
        node.lastChild.append(" ", ...inline(lines[at].trim()));
        at += 1;
      } else break;
    }
    return [node, at];
  }

  function fenced(lines, at) {
    const [, fence, language] = FENCE.exec(lines[at]);
    const closes = (line) => line.trim().startsWith(fence) && !line.trim().slice(fence.length).trim();
    let end = at + 1;
    while (end < lines.length && !closes(lines[end])) end += 1;
    const code = element("code", lines.slice(at + 1, end).join("\n"));
    if (language) code.dataset.language = language;
    return [element("pre", code), end + 1];
  }

  function table(lines, at) {
    const node = element("table", element("thead", cells(lines[at], "th")));
    const body = element("tbody");
    for (at += 2; at < lines.length && ROW.test(lines[at]); at += 1) body.append(cells(lines[at], "td"));
    node.append(body);
    return [node, at];
  }

  function quote(lines, at, depth) {
    const inner = [];
    for (; at < lines.length && /^\s{0,3}>/.test(lines[at]); at += 1) inner.push(lines[at].replace(/^\s{0,3}>\s?/, ""));
    return [element("blockquote", ...blocks(inner, depth + 1)), at];
  }

  function starts(lines, at) {
    const line = lines[at];
    return FENCE.test(line) || ITEM.test(line) || /^\s{0,3}(#{1,6}\s|>|([-*_]\s*){3,}$)/.test(line) ||
      (ROW.test(line) && RULE.test(lines[at + 1] || ""));
  }

  function block(lines, at, depth) {
    const line = lines[at];
    const heading = /^\s{0,3}(#{1,6})\s+(.*?)#*\s*$/.exec(line);
    if (FENCE.test(line)) return fenced(lines, at);
    if (heading) return [element(`h${Math.min(6, heading[1].length + 3)}`, ...inline(heading[2])), at + 1];
    if (/^\s{0,3}([-*_]\s*){3,}$/.test(line)) return [element("hr"), at + 1];
    if (/^\s{0,3}>/.test(line) && depth < 8) return quote(lines, at, depth);
    if (ITEM.test(line)) return list(lines, at, 0);
    if (ROW.test(line) && RULE.test(lines[at + 1] || "")) return table(lines, at);
    const text = [];
    do text.push(lines[at++].trim()); while (at < lines.length && lines[at].trim() && !starts(lines, at));
    return [element("p", ...inline(text.join("\n"))), at];
  }

  function blocks(lines, depth) {
    const nodes = [];
    for (let at = 0; at < lines.length;) {
      if (!lines[at].trim()) {
        at += 1;
        continue;
      }
      const [node, next] = block(lines, at, depth);
      nodes.push(node);
      at = next;
    }
    return nodes;
  }

  return { render: (text) => blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0) };
})();
