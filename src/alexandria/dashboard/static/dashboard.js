// Keeps a page current: follows its events (/dashboard/live) and exchanges the parts that have changed. Without it the page reloads.
"use strict";

const AGAIN_AFTER = 10000; // when the server has refused to send events
const parts = document.getElementById("parts");
const silence = document.getElementById("silence");
const pause = document.getElementById("pause");
const state = document.getElementById("live-state");
const asOf = document.getElementById("as-of");
let source = null;
let paused = false;
let timer = 0;

// The viewer's own time beside the server's, with the date where that differs; nothing where the viewer's clock shows UTC.
function localTime(moment) {
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const isSameDay = moment.getDate() === moment.getUTCDate();
  return ` (${isSameDay ? "" : `${day.format(moment)}, `}${clock.format(moment)})`;
}

function addLocalTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime()) || moment.getTimezoneOffset() === 0) continue;
    const local = document.createElement("span");
    local.className = "local";
    local.textContent = localTime(moment);
    time.append(local);
  }
}

// A part in its new form. What the reader did stays: focus, what is unfolded, how far something is scrolled, what was drawn.
function exchange(name, fresh) {
  const part = document.getElementById(`part-${name}`);
  if (!part || part.dataset.version === fresh.version) return;
  const holder = document.createElement("template");
  holder.innerHTML = fresh.html;
  addLocalTimes(holder.content);
  Idiomorph.morph(part, [...holder.content.childNodes], {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed: (old) => !(old instanceof Element && old.classList.contains("plot")),
      beforeAttributeUpdated: (attribute, node) => !(attribute === "open" && node instanceof HTMLDetailsElement),
    },
  });
  part.dataset.version = fresh.version;
  drawCharts(part);
}

function tell(text) {
  silence.textContent = text;
  silence.hidden = !text;
}

function say(text, tone) {
  state.textContent = text;
  state.className = tone;
}

function lose() {
  say("Not connected", "warn");
  if (silence.hidden) tell(`The server has not answered since ${new Date().toLocaleTimeString()}; these are its last figures.`);
}

function open() {
  close();
  source = new EventSource(parts.dataset.live);
  source.addEventListener("open", () => say("Live", "good"));
  source.addEventListener("parts", (event) => {
    const news = JSON.parse(event.data);
    for (const [name, fresh] of Object.entries(news.parts)) exchange(name, fresh);
    const moment = new Date(news.read_at);
    asOf.dateTime = news.read_at;
    asOf.textContent = `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`;
    if (moment.getTimezoneOffset() !== 0) asOf.append(localTime(moment));
    tell("");
    say("Live", "good");
  });
  source.addEventListener("trouble", (event) => {
    say("Not current", "warn");
    tell(`${JSON.parse(event.data).reason} These are the last figures.`);
  });
  source.addEventListener("error", () => {
    lose();
    // It tries again by itself, unless the server has refused.
    if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_AFTER);
  });
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function follow() {
  if (paused || document.hidden) {
    close();
    say("Paused", "");
  } else {
    open();
  }
}

document.documentElement.classList.add("has-script");
addLocalTimes(document.getElementById("main"));
drawCharts(document);
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on updating" : "Pause updates";
  follow();
});
document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => event.persisted && follow());
follow();
