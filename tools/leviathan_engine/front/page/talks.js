"use strict";
// The talks, kept in this browser alone. A talk is {id, title, messages}; a message is OpenAI's, with figures of ours.
const talks = (() => {
  const PLACE = "leviathan.talks";
  const MOST = 50;

  function read() {
    try {
      const list = JSON.parse(localStorage.getItem(PLACE) || "[]");
      return Array.isArray(list) ? list.filter((talk) => talk && Array.isArray(talk.messages)) : [];
    } catch {
      return [];
    }
  }

  let list = read();

  function write() {
    list = list.slice(0, MOST);
    // A full store gives up its oldest talks, but never the newest.
    for (;;) {
      try {
        localStorage.setItem(PLACE, JSON.stringify(list));
        return true;
      } catch {
        if (list.length <= 1) return false;
        list.pop();
      }
    }
  }

  return {
    all: () => list,
    add() {
      const talk = { id: String(Date.now()) + Math.random().toString(36).slice(2, 6), title: "", messages: [] };
      list.unshift(talk);
      return talk;
    },
    // Saves `talk`, which becomes the newest; false where the browser has no room for it.
    save(talk) {
      const first = talk.messages.find((message) => message.role === "user");
      talk.title = first ? first.content.slice(0, 60) : "";
      list = [talk, ...list.filter((one) => one.id !== talk.id)];
      return write();
    },
    remove(id) {
      list = list.filter((talk) => talk.id !== id);
      write();
    },
  };
})();
