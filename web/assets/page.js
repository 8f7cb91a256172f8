// Keeps the first page up to date: the server sends the parts of it that have changed, as HTML. Without this script the
// page says the same, as of when it was loaded.
"use strict";

// patch makes a part of the page look as it is sent, and leaves alone what has not changed: what has the focus keeps it,
// and what is selected stays so. Lines are known by their data-key.
function patch(now, next) {
  const keys = new Set([...next.children].map((child) => child.dataset.key).filter(Boolean));
  const keyed = new Map();
  for (const child of [...now.children]) {
    if (!child.dataset.key) continue;
    if (keys.has(child.dataset.key)) keyed.set(child.dataset.key, child);
    else child.remove(); // first, so that what stays need not be moved, which would take the focus from it
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
      found = null; // a new line, or another line than this one
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
  if (now.nodeName === "TIME" && now.dateTime === next.dateTime) return; // its text is ours
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name)) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  patch(now, next);
}

// Times are told as how long ago they are.
function roughly(seconds) {
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h";
  return Math.floor(seconds / 86400) + " days";
}

function tellTimes() {
  for (const t of document.querySelectorAll("time")) {
    const at = new Date(t.dateTime);
    const seconds = (Date.now() - at) / 1000;
    const text = seconds < 0 ? "in " + roughly(-seconds) : roughly(seconds) + " ago";
    if (t.textContent !== text) t.textContent = text;
    const title = at.toLocaleString();
    if (t.title !== title) t.title = title;
  }
}

// A screen reader is told what has come, but not more often than somebody can listen.
const sayEvery = 10000;
const counts = { synced: null, failed: null };
let toSay = { synced: 0, failed: 0 };

function count() {
  for (const what of ["synced", "failed"]) {
    const element = document.querySelector("[data-" + what + "]");
    if (!element) continue;
    const n = Number(element.dataset[what]);
    if (counts[what] !== null && n > counts[what]) toSay[what] += n - counts[what];
    counts[what] = n;
  }
}

function say() {
  const parts = [];
  if (toSay.synced) parts.push(toSay.synced + (toSay.synced === 1 ? " file" : " files") + " synced");
  if (toSay.failed) parts.push(toSay.failed + (toSay.failed === 1 ? " file has" : " files have") + " failed");
  toSay = { synced: 0, failed: 0 };
  if (parts.length) document.getElementById("say").textContent = parts.join(", ") + ".";
}

// The connection is given up while nobody looks, so that a forgotten page costs nothing.
const link = document.getElementById("link");
let source = null;
let version = null;
let again = null;

function tell(text) {
  if (link.textContent !== text) link.textContent = text;
  link.hidden = !text;
}

function listen() {
  clearTimeout(again);
  if (source || document.hidden) return;
  source = new EventSource("/events");
  source.addEventListener("hello", (event) => {
    const now = JSON.parse(event.data);
    if (version !== null && now !== version) location.reload(); // another sitesync, with another page
    version = now;
  });
  source.addEventListener("news", (event) => {
    tell("");
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = document.getElementById(id);
      if (!part) continue;
      const next = document.createElement("template");
      next.innerHTML = html;
      patch(part, next.content);
    }
    document.body.dataset.live = "true";
    tellTimes();
    count();
  });
  source.onerror = () => {
    tell("No connection to sitesync: this is how it was. It is tried again.");
    delete document.body.dataset.live;
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      again = setTimeout(listen, 5000);
    }
  };
}

function leave() {
  clearTimeout(again);
  if (source) source.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", listen);
setInterval(tellTimes, 1000);
setInterval(say, sayEvery);
count();
tellTimes();
listen();
