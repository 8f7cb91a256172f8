// Keeps the first page up to date: the server sends the sections that have changed, as HTML. Without this script the
// page says the same, as of when it was loaded.
"use strict";

// patch makes an element equal to another, and leaves what has not changed as it is: the focus and the selection stay.
// Rows are identified by their data-key.
function patch(now, next) {
  const keys = new Set([...next.children].map((child) => child.dataset.key).filter(Boolean));
  const keyed = new Map();
  for (const child of [...now.children]) {
    if (!child.dataset.key) continue;
    if (keys.has(child.dataset.key)) keyed.set(child.dataset.key, child);
    else child.remove(); // first, so that no row that stays is moved, which would take the focus from it
  }
  if (keys.size || keyed.size) [now, next].forEach(dropSpace);
  let at = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = wanted.nodeType === Node.ELEMENT_NODE ? wanted.dataset.key : undefined;
    let found = at;
    if (key && keyed.has(key)) {
      found = keyed.get(key);
      if (found !== at) now.insertBefore(found, at);
    } else if (at && (key || (at.dataset && at.dataset.key))) {
      found = null; // a new row, or not the row of this place
    }
    if (found && same(found, wanted)) {
      update(found, wanted);
      at = found.nextSibling;
    } else {
      now.insertBefore(wanted, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function dropSpace(element) {
  for (const child of [...element.childNodes]) {
    if (child.nodeType === Node.TEXT_NODE && !child.nodeValue.trim()) child.remove();
  }
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName;
}

function update(now, next) {
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
    return;
  }
  if (now.nodeName === "TIME" && now.dateTime === next.dateTime) return; // updateTimes writes its text
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name)) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  patch(now, next);
}

// Times are shown as how long ago they are.
function roughly(seconds) {
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h";
  return Math.floor(seconds / 86400) + " days";
}

function updateTimes() {
  for (const t of document.querySelectorAll("time")) {
    const at = new Date(t.dateTime);
    const seconds = (Date.now() - at) / 1000;
    const text = seconds < 0 ? "in " + roughly(-seconds) : roughly(seconds) + " ago";
    if (t.textContent !== text) t.textContent = text;
    const title = at.toLocaleString();
    if (t.title !== title) t.title = title;
  }
}

// New files are announced to screen readers, but not more often than a person can listen.
const announceInterval = 10000;
const counts = { synced: null, failed: null };
let unannounced = { synced: 0, failed: 0 };

function count() {
  for (const what of ["synced", "failed"]) {
    const element = document.querySelector("[data-" + what + "]");
    if (!element) continue;
    const n = Number(element.dataset[what]);
    if (counts[what] !== null && n > counts[what]) unannounced[what] += n - counts[what];
    counts[what] = n;
  }
}

function announce() {
  const { synced, failed } = unannounced;
  const parts = [];
  if (synced) parts.push(synced + (synced === 1 ? " file" : " files") + " synced");
  if (failed) parts.push(failed + (failed === 1 ? " file has" : " files have") + " failed");
  unannounced = { synced: 0, failed: 0 };
  if (parts.length) document.getElementById("say").textContent = parts.join(", ") + ".";
}

// A hidden page disconnects, so that a forgotten one costs nothing.
const link = document.getElementById("link");
let source = null;
let version = null;
let retry = null;

function showStatus(text) {
  if (link.textContent !== text) link.textContent = text;
  link.hidden = !text;
}

function connect() {
  clearTimeout(retry);
  if (source || document.hidden) return;
  source = new EventSource("/events");
  source.addEventListener("hello", (event) => {
    const now = JSON.parse(event.data);
    if (version !== null && now !== version) location.reload(); // another version, with another page
    version = now;
  });
  source.addEventListener("news", (event) => {
    showStatus("");
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = document.getElementById(id);
      if (!part) continue;
      const next = document.createElement("template");
      next.innerHTML = html;
      patch(part, next.content);
    }
    document.body.dataset.live = "true";
    updateTimes();
    count();
  });
  source.onerror = () => {
    showStatus("No connection to sitesync: this is the last known state. Reconnecting.");
    delete document.body.dataset.live;
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      retry = setTimeout(connect, 5000);
    }
  };
}

function disconnect() {
  clearTimeout(retry);
  if (source) source.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
window.addEventListener("pagehide", disconnect);
window.addEventListener("pageshow", connect);
setInterval(updateTimes, 1000);
setInterval(announce, announceInterval);
count();
updateTimes();
connect();
